// SPDX-License-Identifier: Apache-2.0
//
// From nodes to tensor instructions, in the order of the program; synchronisation comes later
// (schedule.h). One function an operation, in one small file a family.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "compiler/ir.h"
#include "compiler/memory_plan.h"
#include "driver_shim/sim/isa.h"

namespace nrtd::compiler {

struct TensorInstruction {
  sim::Engine engine = sim::Engine::kPe;
  sim::Instruction instruction;
  std::string origin;  // the node it comes from
  std::string lookup;  // the tensor of a Gather's indices; otherwise empty
};

class LowerContext {
 public:
  LowerContext(const Graph& graph, const MemoryPlan& plan) : graph_(graph), plan_(plan) {}

  const Value& at(ValueId id) const { return graph_.at(id); }

  // The value as a dense operand under dimensions that have as many elements; a constant in the
  // file variable of its own type.
  sim::Operand View(ValueId id, Shape dims) const;
  // A part of it.
  sim::Operand View(ValueId id, const StridedView& view) const;
  // As [N,C,H,W], of a value of that shape or of [N,H,W,C].
  sim::Operand Images(ValueId id, bool channels_last) const;
  // The same for what PE multiplies by in this precision: a constant as it is stored for that.
  sim::Operand WeightView(ValueId id, Shape dims, sim::Precision precision) const;

  void Append(const Node& node, sim::Engine engine, sim::Instruction instruction,
              const std::string& lookup = {});

  std::vector<TensorInstruction> Take() && { return std::move(instructions_); }

 private:
  const Graph& graph_;
  const MemoryPlan& plan_;
  std::vector<TensorInstruction> instructions_;
};

// kInvalid if an operation needs more dimensions than an instruction has.
Result<std::vector<TensorInstruction>> LowerGraph(const Graph& graph, const MemoryPlan& plan);

Result<void> Lower(const Node& node, const Conv& conv, LowerContext& context);
Result<void> Lower(const Node& node, const MatMul& product, LowerContext& context);
Result<void> Lower(const Node& node, const Activation& activation, LowerContext& context);
Result<void> Lower(const Node& node, const Softmax& softmax, LowerContext& context);
Result<void> Lower(const Node& node, const Pool& pool, LowerContext& context);
Result<void> Lower(const Node& node, const Binary& binary, LowerContext& context);
Result<void> Lower(const Node& node, const LayerNorm& norm, LowerContext& context);
Result<void> Lower(const Node& node, const Compare& compare, LowerContext& context);
Result<void> Lower(const Node& node, const Select& select, LowerContext& context);
Result<void> Lower(const Node& node, const Cast& cast, LowerContext& context);
Result<void> Lower(const Node& node, const Rearrange& rearrange, LowerContext& context);
Result<void> Lower(const Node& node, const Gather& gather, LowerContext& context);
Result<void> Lower(const Node& node, const Reduce& reduce, LowerContext& context);

}  // namespace nrtd::compiler
