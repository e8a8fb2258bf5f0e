// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "proto/tensorflow_serving/apis.pb.h"
#include "serving/graph/executor.h"
#include "serving/neuron/neuron_runtime.h"

namespace nrtd::serving {

// One version of a model, ready for requests. Whoever has a request under way keeps it.
struct Servable {
  std::string model;
  int64_t version = 0;
  Graph graph;  // without the executables, which the daemon has
  std::unique_ptr<NeuronRunner> neuron;
  tensorflow::serving::SignatureDefMap signatures;  // as the SavedModel has them
};

// Reads folder/saved_model.pb and loads its networks. Errors of ReadSavedModelFile(), BuildGraph()
// and the daemon.
Result<std::shared_ptr<const Servable>> LoadServable(const std::string& model, int64_t version,
                                                     const std::string& folder,
                                                     const std::shared_ptr<NeuronRuntime>& runtime);

}  // namespace nrtd::serving
