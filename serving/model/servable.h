// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proto/tensorflow_serving/apis.pb.h"
#include "serving/batching/batch_scheduler.h"
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
  // With batching: of each signature, for requests that want all of its outputs.
  std::map<std::string, std::unique_ptr<BatchQueue>> queues;

  // The outputs `wanted` of a signature of the graph, with other requests if there is batching.
  // `inputs` are what Execute() takes, and so are errors. Threadsafe.
  Result<Tensors> Run(const std::string& signature, Tensors inputs,
                      const std::vector<std::string>& wanted, TimePoint deadline) const;
  // Whether Run() with these outputs waits for other requests.
  bool Batches(const std::string& signature, const std::vector<std::string>& wanted) const;
  // Run() of what is not batched, for a caller that does not wait, as StartExecution(). The
  // servable outlives the call of `done`.
  void Start(const std::string& signature, Tensors inputs, const std::vector<std::string>& wanted,
             TimePoint deadline, Executed done) const;
  // Whether its networks have gone with the daemon.
  bool IsLost() const { return neuron != nullptr && neuron->IsLost(); }
};

// Reads folder/saved_model.pb and loads its networks. Errors of ReadSavedModelFile(), BuildGraph()
// and the daemon. `batching`, if there is any, outlives the servable.
Result<std::shared_ptr<const Servable>> LoadServable(const std::string& model, int64_t version,
                                                     const std::string& folder,
                                                     const std::shared_ptr<NeuronRuntime>& runtime,
                                                     BatchScheduler* batching);

}  // namespace nrtd::serving
