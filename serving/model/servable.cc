// SPDX-License-Identifier: Apache-2.0
#include "serving/model/servable.h"

#include <utility>

#include "serving/graph/saved_model_reader.h"
#include "serving/neuron/neuron_model.h"

namespace nrtd::serving {
namespace {

void MakeQueues(BatchScheduler& batching, Servable& servable) {
  for (const auto& [name, signature] : servable.graph.signatures) {
    servable.queues[name] = std::make_unique<BatchQueue>(
        batching, [&graph = servable.graph, &signature = signature, &neuron = *servable.neuron,
                   all = OutputNames(signature)](Tensors inputs, TimePoint deadline) {
          return Execute(graph, signature, std::move(inputs), all, neuron, deadline);
        });
  }
}

}  // namespace

Result<Tensors> Servable::Run(const std::string& name, Tensors inputs,
                              const std::vector<std::string>& wanted, TimePoint deadline) const {
  if (Batches(name, wanted)) return queues.at(name)->Run(std::move(inputs), deadline);
  return Execute(graph, graph.signatures.at(name), std::move(inputs), wanted, *neuron, deadline);
}

bool Servable::Batches(const std::string& name, const std::vector<std::string>& wanted) const {
  return queues.contains(name) && wanted.size() == graph.signatures.at(name).outputs.size();
}

void Servable::Start(const std::string& name, Tensors inputs,
                     const std::vector<std::string>& wanted, TimePoint deadline,
                     Executed done) const {
  StartExecution(graph, graph.signatures.at(name), std::move(inputs), wanted, *neuron, deadline,
                 std::move(done));
}

Result<std::shared_ptr<const Servable>> LoadServable(const std::string& model, int64_t version,
                                                     const std::string& folder,
                                                     const std::shared_ptr<NeuronRuntime>& runtime,
                                                     BatchScheduler* batching) {
  NRTD_ASSIGN(tensorflow::SavedModel saved_model, ReadSavedModelFile(folder));
  auto servable = std::make_shared<Servable>();
  servable->model = model;
  servable->version = version;
  NRTD_ASSIGN(servable->graph, BuildGraph(saved_model).map_error([&](Error error) {
    return std::move(error).In(Printable(folder));
  }));
  for (auto& meta : *saved_model.mutable_meta_graphs()) {
    for (auto& [name, signature] : *meta.mutable_signature_def()) {
      if (servable->graph.signatures.contains(name))
        (*servable->signatures.mutable_signature_def())[name] = signature;
    }
  }
  NRTD_ASSIGN(servable->neuron, NeuronModel::Load(servable->graph, runtime));
  for (const uint32_t index : servable->graph.neuron_ops) {
    auto& neuron = std::get<op::Neuron>(servable->graph.nodes[index].operation);
    for (op::Executable& executable : neuron.executables) executable.neff.reset();
  }
  if (batching != nullptr) MakeQueues(*batching, *servable);
  return servable;
}

}  // namespace nrtd::serving
