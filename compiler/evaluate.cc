// SPDX-License-Identifier: Apache-2.0
#include "compiler/evaluate.h"

#include <algorithm>

#include "base/sizes.h"
#include "compiler/emit.h"
#include "compiler/host_call.h"
#include "compiler/lower/lower.h"
#include "compiler/memory_plan.h"
#include "driver_shim/sim/kernels/make_kernel.h"

namespace nrtd::compiler {
namespace {

// Larger results would bloat the NEFF; the core computes them in no time.
constexpr uint64_t kMaxGrowth = 1 * kMiB;

// A graph of the node alone: what is no constant is an input, in the node's order.
Graph Isolate(const Graph& graph, const Node& node) {
  Graph alone;
  Node copy = node;
  for (ValueId& input : copy.inputs) {
    const bool is_constant = graph.at(input).IsConstant();
    input = alone.Add(graph.at(input));
    if (!is_constant) alone.inputs.push_back(input);
  }
  copy.output = alone.Add(graph.at(node.output));
  alone.outputs = {copy.output};
  alone.nodes.push_back(std::move(copy));
  return alone;
}

class ReshapeEvaluator : public Evaluator {
 public:
  explicit ReshapeEvaluator(const Value& input) : constant_(input.data) {}

  Result<std::vector<ByteVector>> Run(std::span<const ByteSpan> inputs) override {
    const ByteSpan elements = constant_ ? ByteSpan(*constant_) : inputs[0];
    return std::vector<ByteVector>{ByteVector(elements.begin(), elements.end())};
  }

 private:
  std::optional<ByteVector> constant_;
};

Result<std::unique_ptr<sim::Kernel>> MakeValidKernel(const TensorInstruction& step,
                                                     const sim::ProgramContext& surroundings,
                                                     const sim::KernelContext& context) {
  NRTD_TRY(sim::Validate({step.engine, {step.instruction}}, surroundings));
  return sim::MakeKernel(step.instruction, context);
}

class CoreEvaluator : public Evaluator {
 public:
  static Result<std::unique_ptr<Evaluator>> Make(Graph alone) {
    auto evaluator = std::unique_ptr<CoreEvaluator>(new CoreEvaluator(std::move(alone)));
    NRTD_TRY(evaluator->MakeKernels());
    return std::unique_ptr<Evaluator>(std::move(evaluator));
  }

  Result<std::vector<ByteVector>> Run(std::span<const ByteSpan> inputs) override {
    sim::UseOneThread();
    const Node& node = graph_.nodes[0];
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (!graph_.at(node.inputs[i]).IsConstant())
        std::copy(inputs[i].begin(), inputs[i].end(), At(node.inputs[i]));
    }
    for (const auto& kernel : kernels_)
      if (!kernel->Run())
        return Fail(Nerr::kFail,
                    "the core refuses these inputs; is an index outside of its table?");
    const std::byte* output = At(node.output);
    return std::vector<ByteVector>{ByteVector(output, output + graph_.at(node.output).Bytes())};
  }

 private:
  explicit CoreEvaluator(Graph alone) : graph_(std::move(alone)), plan_(PlanMemory(graph_)) {
    for (const PlannedVariable& variable : plan_.variables) {
      ByteVector& memory = memory_.emplace_back();
      if (variable.kind == PlannedVariable::Kind::kFile)
        memory = StoredElements(graph_.at(variable.value), variable.dtype);
      if (variable.kind == PlannedVariable::Kind::kScratch) memory.resize(variable.size);
    }
  }

  Result<void> MakeKernels() {
    sim::UseOneThread();
    const sim::KernelContext context{.resolve =
                                         [this](const sim::Operand& operand) {
                                           return memory_[operand.var_id].data() + operand.offset;
                                         },
                                     .constant =
                                         [this](uint32_t var_id) {
                                           return plan_.variables[var_id].kind ==
                                                  PlannedVariable::Kind::kFile;
                                         },
                                     .weights = &weights_,
                                     .scratch = &scratch_};
    NRTD_ASSIGN(const auto program, LowerGraph(graph_, plan_));
    const sim::ProgramContext surroundings = ContextOf(plan_, Schedule{});
    for (const TensorInstruction& step : program) {
      auto kernel = MakeValidKernel(step, surroundings, context);
      if (!kernel) return tl::unexpected<Error>(std::move(kernel.error()).In(step.origin));
      kernels_.push_back(std::move(*kernel));
    }
    return {};
  }

  std::byte* At(ValueId id) {
    const Placement place = plan_.ScratchOf(id);
    return memory_[place.var_id].data() + place.offset;
  }

  const Graph graph_;
  const MemoryPlan plan_;
  std::vector<ByteVector> memory_;  // by variable
  sim::WeightCache weights_;
  sim::Scratch scratch_;
  std::vector<std::unique_ptr<sim::Kernel>> kernels_;
};

class CallEvaluator : public Evaluator {
 public:
  static Result<std::unique_ptr<Evaluator>> Make(const Graph& graph,
                                                 const std::vector<const Node*>& results) {
    const auto& call = std::get<HostCall>(results[0]->operation);
    auto evaluator = std::make_unique<CallEvaluator>();
    std::vector<ValueId> outputs;
    for (const Node* result : results) {
      outputs.push_back(result->output);
      evaluator->sizes_.push_back(graph.at(result->output).Bytes());
    }
    for (ValueId input : results[0]->inputs) evaluator->constants_.push_back(graph.at(input).data);
    auto kernel = PrepareCall(graph, call, results[0]->inputs, outputs);
    if (!kernel) return tl::unexpected<Error>(std::move(kernel.error()).In(results[0]->name));
    evaluator->kernel_ = std::move(*kernel);
    return std::unique_ptr<Evaluator>(std::move(evaluator));
  }

  Result<std::vector<ByteVector>> Run(std::span<const ByteSpan> inputs) override {
    std::vector<ByteSpan> from;
    for (size_t i = 0; i < constants_.size(); ++i)
      from.push_back(constants_[i] ? ByteSpan(*constants_[i]) : inputs[i]);
    std::vector<ByteVector> results;
    for (uint64_t size : sizes_) results.emplace_back(size);
    const std::vector<MutableByteSpan> to(results.begin(), results.end());
    kernel_(from, to);
    return results;
  }

 private:
  runtime::HostKernel kernel_;
  std::vector<std::optional<ByteVector>> constants_;  // by input
  std::vector<uint64_t> sizes_;                       // by result
};

}  // namespace

Result<std::unique_ptr<Evaluator>> Evaluator::Make(const Graph& graph,
                                                   const std::vector<const Node*>& results) {
  const Node& node = *results[0];
  if (std::holds_alternative<Reshape>(node.operation))
    return std::make_unique<ReshapeEvaluator>(graph.at(node.inputs[0]));
  if (std::holds_alternative<HostCall>(node.operation)) return CallEvaluator::Make(graph, results);
  return CoreEvaluator::Make(Isolate(graph, node));
}

std::optional<ByteVector> Evaluate(const Graph& graph, const Node& node) {
  const auto elements = ElementCount(graph.at(node.output).shape);
  if (!elements || *elements > sim::kMaxElements) return std::nullopt;
  uint64_t input_bytes = 0;
  for (ValueId input : node.inputs) {
    if (!graph.at(input).IsConstant()) return std::nullopt;
    input_bytes += graph.at(input).Bytes();
  }
  if (graph.at(node.output).Bytes() > input_bytes + kMaxGrowth) return std::nullopt;
  auto evaluator = Evaluator::Make(graph, {&node});
  if (!evaluator) return std::nullopt;
  auto results = (*evaluator)->Run(std::vector<ByteSpan>(node.inputs.size()));
  if (!results) return std::nullopt;
  return std::move((*results)[0]);
}

}  // namespace nrtd::compiler
