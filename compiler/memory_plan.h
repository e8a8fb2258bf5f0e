// SPDX-License-Identifier: Apache-2.0
//
// Where every value lies on the core: which variable of def.json, at which offset.
//  - Each input and output that is used has a variable of its own, which only DMA touches, and room
//    in a tmp-buf variable that the engines work on.
//  - Constants are file variables, those that PE multiplies by as bfloat16 if the compiler is told.
//  - Outputs have a tmp-buf variable each, so that the runtime can look at exactly their elements.
//  - All other values share one tmp-buf variable; those whose lifetimes do not meet share its
//  bytes.
// Reshapes make no copy; activations, softmax and additions work in place where their input ends.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "compiler/ir.h"

namespace nrtd::compiler {

// Variables begin and values lie at multiples of this: a cache line, which oneDNN likes.
inline constexpr uint64_t kAlignment = 64;

struct PlannedVariable {
  enum class Kind { kInput, kOutput, kFile, kScratch };
  Kind kind = Kind::kScratch;
  std::string name;  // inputs and outputs: the value's; unique in the plan
  uint32_t var_id = 0;
  uint64_t size = 0;
  ValueId value = 0;              // of an input, output or file
  DType dtype = DType::kFloat32;  // of a file: how its elements are stored
};

struct Placement {
  uint32_t var_id = 0;
  uint64_t offset = 0;
};

struct MemoryPlan {
  std::vector<PlannedVariable> variables;  // variables[i].var_id == i
  // Of values in tmp-buf variables; constants and what no node uses have none.
  std::vector<std::optional<Placement>> scratch;
  // The file variable of a constant, as stored type.
  std::map<std::pair<ValueId, DType>, uint32_t> files;
  std::map<ValueId, uint32_t> input_variables;  // those that are used
  std::vector<uint32_t> output_variables;       // parallel to Graph::outputs

  uint64_t weight_bytes = 0;    // of all file variables
  uint64_t scratch_bytes = 0;   // of all tmp-buf variables: the plan's peak
  uint64_t unshared_bytes = 0;  // what scratch_bytes would be if every value had its own bytes

  Placement ScratchOf(ValueId id) const { return *scratch[id]; }
};

MemoryPlan PlanMemory(const Graph& graph);

// How constants are stored that PE multiplies by in this precision.
constexpr DType WeightType(sim::Precision precision) {
  return precision == sim::Precision::kBFloat16 ? DType::kBFloat16 : DType::kFloat32;
}

// A constant's elements in the type that they are stored as: its own, or bfloat16 of float32.
ByteVector StoredElements(const Value& constant, DType stored);

}  // namespace nrtd::compiler
