// SPDX-License-Identifier: Apache-2.0
#include "serving/graph/executor.h"

#include <algorithm>

#include "serving/graph/operations.h"

namespace nrtd::serving {
namespace {

// One request's values, each kept until its last reader has had it.
class Execution {
 public:
  Execution(const Graph& graph, NeuronRunner& neuron, TimePoint deadline)
      : graph_(graph),
        neuron_(neuron),
        deadline_(deadline),
        given_(graph.nodes.size()),
        readers_(graph.nodes.size()),
        values_(graph.nodes.size()) {}

  void Give(Port port, Tensor tensor) {
    given_[port.node] = true;
    values_[port.node] = {std::move(tensor)};
  }
  // Somebody reads the output in the end.
  void Want(Port port) { ++readers_[port.node]; }
  Result<void> Run();
  // One of its readers has it.
  Tensor Take(Port port);

 private:
  Result<std::vector<Tensor>> RunNode(const Node& node, std::vector<Tensor> inputs);

  const Graph& graph_;
  NeuronRunner& neuron_;
  const TimePoint deadline_;
  std::vector<bool> given_;
  std::vector<uint32_t> readers_;  // that have not had a node's outputs
  std::vector<std::vector<Tensor>> values_;
};

Tensor Execution::Take(Port port) {
  std::vector<Tensor>& outputs = values_[port.node];
  if (--readers_[port.node] != 0) return outputs[port.output];
  Tensor last = std::move(outputs[port.output]);
  outputs.clear();
  return last;
}

Result<std::vector<Tensor>> Execution::RunNode(const Node& node, std::vector<Tensor> inputs) {
  if (const auto* constant = std::get_if<op::Const>(&node.operation))
    return std::vector<Tensor>{constant->value};
  if (std::holds_alternative<op::Placeholder>(node.operation)) {
    if (!inputs.empty()) return inputs;
    return Fail(Nerr::kInvalid, "you must feed a value for it");
  }
  if (const auto* neuron = std::get_if<op::Neuron>(&node.operation))
    return neuron_.Run(*neuron, std::move(inputs), deadline_);
  return RunOperation(node.operation, inputs);
}

Result<void> Execution::Run() {
  for (size_t i = graph_.nodes.size(); i-- > 0;) {
    if (readers_[i] == 0 || given_[i]) continue;
    for (const Port& input : graph_.nodes[i].inputs) ++readers_[input.node];
  }
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    if (readers_[i] == 0 || given_[i]) continue;
    const Node& node = graph_.nodes[i];
    std::vector<Tensor> inputs;
    for (const Port& input : node.inputs) inputs.push_back(Take(input));
    auto outputs = RunNode(node, std::move(inputs));
    if (!outputs) {
      return Fail(outputs.error().code, "node '{}': {}", node.name, AsIs(outputs.error().text));
    }
    values_[i] = std::move(*outputs);
  }
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
  Execution execution(graph, neuron, deadline);
  for (auto& [name, tensor] : inputs)
    execution.Give(signature.inputs.at(name).port, std::move(tensor));
  for (const std::string& name : wanted) execution.Want(signature.outputs.at(name).port);
  NRTD_TRY(execution.Run());
  Tensors outputs;
  for (const std::string& name : wanted)
    outputs.insert_or_assign(name, execution.Take(signature.outputs.at(name).port));
  return outputs;
}

}  // namespace nrtd::serving
