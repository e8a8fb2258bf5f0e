// SPDX-License-Identifier: Apache-2.0
#include "serving/graph/executor.h"

#include <algorithm>
#include <exception>
#include <memory>
#include <utility>

#include "serving/graph/operations.h"

namespace nrtd::serving {
namespace {

// One request's way through a graph. It stops at each NeuronOp for its outputs. Each value is kept
// until its last reader has had it.
class Execution {
 public:
  // `signature` is one of the graph's; both outlive it.
  Execution(const Graph& graph, const Signature& signature, Tensors inputs,
            const std::vector<std::string>& wanted);

  // Runs host operations up to the next NeuronOp, which is returned, or to the end: null.
  Result<const op::Neuron*> Advance();
  // Of the NeuronOp where it stopped: once each.
  std::vector<Tensor> TakeInputs() { return TakeInputsOf(graph_.nodes[next_]); }
  Result<void> GiveOutputs(Result<std::vector<Tensor>> outputs);
  // At the end: once.
  Tensors TakeOutputs();

 private:
  bool IsNeeded(size_t node) const { return readers_[node] != 0 && !given_[node]; }
  std::vector<Tensor> TakeInputsOf(const Node& node);
  Tensor Take(Port port);

  const Graph& graph_;
  const Signature& signature_;
  const std::vector<std::string> wanted_;
  std::vector<bool> given_;
  std::vector<uint32_t> readers_;  // that have not had a node's outputs
  std::vector<std::vector<Tensor>> values_;
  size_t next_ = 0;  // node
};

Execution::Execution(const Graph& graph, const Signature& signature, Tensors inputs,
                     const std::vector<std::string>& wanted)
    : graph_(graph),
      signature_(signature),
      wanted_(wanted),
      given_(graph.nodes.size()),
      readers_(graph.nodes.size()),
      values_(graph.nodes.size()) {
  for (auto& [name, tensor] : inputs) {
    const Port port = signature.inputs.at(name).port;
    given_[port.node] = true;
    values_[port.node] = {std::move(tensor)};
  }
  for (const std::string& name : wanted_) ++readers_[signature.outputs.at(name).port.node];
  for (size_t i = graph_.nodes.size(); i-- > 0;) {
    if (!IsNeeded(i)) continue;
    for (const Port& input : graph_.nodes[i].inputs) ++readers_[input.node];
  }
}

Tensor Execution::Take(Port port) {
  std::vector<Tensor>& outputs = values_[port.node];
  if (--readers_[port.node] != 0) return outputs[port.output];
  Tensor last = std::move(outputs[port.output]);
  outputs.clear();
  return last;
}

std::vector<Tensor> Execution::TakeInputsOf(const Node& node) {
  std::vector<Tensor> inputs;
  for (const Port& input : node.inputs) inputs.push_back(Take(input));
  return inputs;
}

Tensors Execution::TakeOutputs() {
  Tensors outputs;
  for (const std::string& name : wanted_)
    outputs.insert_or_assign(name, Take(signature_.outputs.at(name).port));
  return outputs;
}

Result<std::vector<Tensor>> RunOnHost(const Node& node, std::vector<Tensor> inputs) {
  if (const auto* constant = std::get_if<op::Const>(&node.operation))
    return std::vector<Tensor>{constant->value};
  if (std::holds_alternative<op::Placeholder>(node.operation)) {
    if (!inputs.empty()) return inputs;
    return Fail(Nerr::kInvalid, "you must feed a value for it");
  }
  return RunOperation(node.operation, inputs);
}

Result<const op::Neuron*> Execution::Advance() {
  while (next_ < graph_.nodes.size()) {
    const Node& node = graph_.nodes[next_];
    if (!IsNeeded(next_)) {
      ++next_;
    } else if (const auto* neuron = std::get_if<op::Neuron>(&node.operation)) {
      return neuron;
    } else {
      NRTD_TRY(GiveOutputs(RunOnHost(node, TakeInputsOf(node))));
    }
  }
  return nullptr;
}

Result<void> Execution::GiveOutputs(Result<std::vector<Tensor>> outputs) {
  const Node& node = graph_.nodes[next_];
  if (!outputs)
    return Fail(outputs.error().code, "node '{}': {}", node.name, AsIs(outputs.error().text));
  values_[next_] = std::move(*outputs);
  ++next_;
  return {};
}

// An execution that goes on by callbacks. The last of them has it.
struct Started {
  Execution execution;
  NeuronRunner& neuron;
  const TimePoint deadline;
  const Executed done;
  bool ended = false;

  void End(Result<Tensors> outputs) {
    if (!std::exchange(ended, true)) done(std::move(outputs));
  }
};

// Up to the next NeuronOp, which is begun, or to the end. Errors of the execution.
Result<void> Step(const std::shared_ptr<Started>& started);

void GoOn(const std::shared_ptr<Started>& started) {
  try {
    if (auto stepped = Step(started); !stepped)
      started->End(tl::unexpected<Error>(std::move(stepped.error())));
  } catch (const std::exception& error) {  // no memory, say
    started->End(Fail(Nerr::kResource, "{}", error.what()));
  }
}

Result<void> Step(const std::shared_ptr<Started>& started) {
  NRTD_ASSIGN(const op::Neuron* const op, started->execution.Advance());
  if (op == nullptr) {
    started->End(started->execution.TakeOutputs());
    return {};
  }
  started->neuron.Start(*op, started->execution.TakeInputs(), started->deadline,
                        [started](Result<std::vector<Tensor>> outputs) {
                          auto given = started->execution.GiveOutputs(std::move(outputs));
                          if (given) {
                            GoOn(started);
                          } else {
                            started->End(tl::unexpected<Error>(std::move(given.error())));
                          }
                        });
  return {};
}

}  // namespace

std::vector<std::string> OutputNames(const Signature& signature) {
  std::vector<std::string> names;
  for (const auto& [name, output] : signature.outputs) names.push_back(name);
  return names;
}

bool Fits(const Shape& shape, const TensorSpec& spec) {
  if (spec.unknown_rank) return true;
  return std::equal(shape.begin(), shape.end(), spec.shape.begin(), spec.shape.end(),
                    [](int64_t size, int64_t wanted) { return wanted == -1 || size == wanted; });
}

Result<Tensors> Execute(const Graph& graph, const Signature& signature, Tensors inputs,
                        const std::vector<std::string>& wanted, NeuronRunner& neuron,
                        TimePoint deadline) {
  Execution execution(graph, signature, std::move(inputs), wanted);
  while (true) {
    NRTD_ASSIGN(const op::Neuron* const op, execution.Advance());
    if (op == nullptr) return execution.TakeOutputs();
    NRTD_TRY(execution.GiveOutputs(neuron.Run(*op, execution.TakeInputs(), deadline)));
  }
}

void StartExecution(const Graph& graph, const Signature& signature, Tensors inputs,
                    const std::vector<std::string>& wanted, NeuronRunner& neuron,
                    TimePoint deadline, Executed done) {
  GoOn(std::make_shared<Started>(Started{Execution(graph, signature, std::move(inputs), wanted),
                                         neuron, deadline, std::move(done)}));
}

}  // namespace nrtd::serving
