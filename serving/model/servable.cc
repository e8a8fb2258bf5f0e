// SPDX-License-Identifier: Apache-2.0
#include "serving/model/servable.h"

#include <utility>

#include "serving/graph/saved_model_reader.h"

namespace nrtd::serving {

Result<std::shared_ptr<const Servable>> LoadServable(
    const std::string& model, int64_t version, const std::string& folder,
    const std::shared_ptr<NeuronRuntime>& runtime) {
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
  for (const uint32_t index : servable->graph.neuron_ops)
    std::get<op::Neuron>(servable->graph.nodes[index].operation).executable.reset();
  return servable;
}

}  // namespace nrtd::serving
