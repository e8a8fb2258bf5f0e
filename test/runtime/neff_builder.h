// SPDX-License-Identifier: Apache-2.0
//
// Small NEFFs for the simulated target, written by hand: a pipeline of stages, each a subgraph on a
// core of its own that applies one function to a vector.
#pragma once

#include <string>
#include <vector>

#include "driver_shim/sim/isa.h"
#include "neff/neff.h"
#include "neff/writer.h"

namespace nrtd::runtime {

struct StageSpec {
  sim::Function function = sim::Function::kLinear;
  float alpha = 1;  // kLinear: alpha x + beta
  float beta = 0;
  uint64_t scratch_bytes = 0;       // of another tmp-buf variable, which nothing uses
  std::vector<float> weights = {};  // of a file variable
  // What the stage makes of them. kComputed: the function of them, `count` many, is its output.
  // kTransferred: DMA puts them out as they are.
  enum class Use { kNone, kComputed, kTransferred };
  Use weights_use = Use::kNone;
  // What the engines do besides: ACT behind the function, PE behind ACT. They may use kStageData
  // and, if there are scratch_bytes and no weights, kStageScratch.
  std::vector<sim::Instruction> act = {};
  std::vector<sim::Instruction> pe = {};
};
inline constexpr uint32_t kStageData = 2;
inline constexpr uint32_t kStageScratch = 3;

struct PipelineSpec {
  std::string name = "pipeline";
  uint32_t count = 4;  // floats of every tensor
  std::vector<StageSpec> stages = {StageSpec{}};
};

// One kelf node; input "x", output "y"; stage i hands "t<i>" to stage i + 1.
neff::NeffContents PipelineContents(const PipelineSpec& spec);
ByteVector PipelineNeff(const PipelineSpec& spec);
ByteVector NeffBytes(const neff::NeffContents& contents);
neff::Neff Executable(const neff::NeffContents& contents);

// Kelf nodes one behind the other, node i with stages_of_node[i] stages; input "x", output "y".
// Every stage computes 2 x + 1.
neff::NeffContents ChainContents(const std::vector<size_t>& stages_of_node, uint32_t count = 4);

// A host node before the pipeline's node and one behind it: "x" is copied, doubled on `stages`
// cores, and "class" (int64, a scalar) says where the largest is.
neff::NeffContents HostedContents(size_t stages, uint32_t count = 4);
// No core at all: "y" [3,2] is "x" [2,3] transposed.
neff::NeffContents HostOnlyContents();

// `stages` stages, each of which computes 2 x + 1.
PipelineSpec DoublingSpec(size_t stages, uint32_t count = 4);
float Doubled(float value, size_t stages);

// models/digits, compiled.
const ByteVector& DigitsNeff();
ByteVector DigitsNeffFor(uint32_t batch);

}  // namespace nrtd::runtime
