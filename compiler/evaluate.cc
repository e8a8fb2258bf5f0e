// SPDX-License-Identifier: Apache-2.0
#include "compiler/evaluate.h"

#include <algorithm>

#include "base/sizes.h"
#include "compiler/emit.h"
#include "compiler/lower/lower.h"
#include "compiler/memory_plan.h"
#include "driver_shim/sim/kernels/make_kernel.h"
#include "runtime/host/host_functions.h"

namespace nrtd::compiler {
namespace {

// Larger results would bloat the NEFF; the core computes them in no time.
constexpr uint64_t kMaxGrowth = 1 * kMiB;

// A graph of the node alone.
Graph Isolate(const Graph& graph, const Node& node) {
  Graph alone;
  Node copy = node;
  for (ValueId& input : copy.inputs) input = alone.Add(graph.at(input));
  copy.output = alone.Add(graph.at(node.output));
  alone.outputs = {copy.output};
  alone.nodes.push_back(std::move(copy));
  return alone;
}

class Runner {
 public:
  Runner(const Graph& graph, const MemoryPlan& plan) {
    for (const PlannedVariable& variable : plan.variables) {
      writable_.push_back(variable.kind != PlannedVariable::Kind::kFile);
      memory_.push_back(writable_.back() ? ByteVector(variable.size)
                                         : *graph.at(variable.value).data);
    }
  }

  bool Run(const sim::Instruction& instruction) {
    const sim::KernelContext context{
        .resolve =
            [this](const sim::Operand& operand) {
              return memory_[operand.var_id].data() + operand.offset;
            },
        .constant = [this](uint32_t var_id) { return !writable_[var_id]; },
        .weights = &weights_,
        .scratch = &scratch_};
    const auto kernel = sim::MakeKernel(instruction, context);
    return kernel && (*kernel)->Run();
  }

  ByteVector Take(const Placement& place, uint64_t bytes) const {
    const ByteSpan span = ByteSpan(memory_[place.var_id]).subspan(place.offset, bytes);
    return {span.begin(), span.end()};
  }

 private:
  std::vector<ByteVector> memory_;  // by variable
  std::vector<bool> writable_;
  sim::WeightCache weights_;
  sim::Scratch scratch_;
};

runtime::HostTensorType TypeOf(const Value& value) {
  return {value.dtype, value.shape, value.Bytes()};
}

std::optional<ByteVector> EvaluateCall(const Graph& graph, const Node& node, const HostCall& call) {
  const Value& output = graph.at(node.output);
  runtime::HostSignature signature{{}, {TypeOf(output)}, call.attributes};
  std::vector<ByteSpan> inputs;
  for (ValueId input : node.inputs) {
    signature.inputs.push_back(TypeOf(graph.at(input)));
    inputs.emplace_back(*graph.at(input).data);
  }
  const auto kernel = runtime::PrepareHostFunction(call.function, signature);
  if (!kernel) return std::nullopt;
  ByteVector result(output.Bytes());
  const MutableByteSpan outputs[] = {MutableByteSpan(result)};
  (*kernel)(inputs, outputs);
  return result;
}

}  // namespace

std::optional<ByteVector> Evaluate(const Graph& graph, const Node& node) {
  const auto elements = ElementCount(graph.at(node.output).shape);
  if (!elements || *elements > sim::kMaxElements) return std::nullopt;
  uint64_t input_bytes = 0;
  for (ValueId input : node.inputs) {
    if (!graph.at(input).IsConstant()) return std::nullopt;
    input_bytes += graph.at(input).Bytes();
  }
  if (graph.at(node.output).Bytes() > input_bytes + kMaxGrowth) return std::nullopt;
  if (std::holds_alternative<Reshape>(node.operation)) return graph.at(node.inputs[0]).data;
  if (const auto* call = std::get_if<HostCall>(&node.operation))
    return EvaluateCall(graph, node, *call);
  const Graph alone = Isolate(graph, node);
  const MemoryPlan plan = PlanMemory(alone);
  const auto program = LowerGraph(alone, plan);
  if (!program) return std::nullopt;
  sim::UseOneThread();
  Runner runner(alone, plan);
  const sim::ProgramContext context = ContextOf(plan, Schedule{});
  for (const TensorInstruction& step : *program) {
    if (!sim::Validate({step.engine, {step.instruction}}, context)) return std::nullopt;
    if (!runner.Run(step.instruction)) return std::nullopt;
  }
  const ValueId output = alone.outputs[0];
  return runner.Take(plan.ScratchOf(output), alone.at(output).Bytes());
}

}  // namespace nrtd::compiler
