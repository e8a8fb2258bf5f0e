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

// One version of a model, ready for requests. Requests in flight keep it alive.
struct Servable {
  std::string model;
  int64_t version = 0;
  Graph graph;  // without the executables, which only the daemon needs
  std::unique_ptr<NeuronRunner> neuron;
  tensorflow::serving::SignatureDefMap signatures;  // as in the SavedModel
  // With batching: one queue per signature, for requests that want all of its outputs.
  std::map<std::string, std::unique_ptr<BatchQueue>> queues;

  // Computes the outputs `wanted` of a signature, together with other requests if batching is on.
  // Inputs and errors are those of Execute(). Threadsafe.
  Result<Tensors> Run(const std::string& signature, Tensors inputs,
                      const std::vector<std::string>& wanted, TimePoint deadline) const;
  // Whether Run() with these outputs may wait for other requests.
  bool Batches(const std::string& signature, const std::vector<std::string>& wanted) const;
  // StartExecution() for requests that are not batched. The servable must live until `done` was
  // called.
  void Start(const std::string& signature, Tensors inputs, const std::vector<std::string>& wanted,
             TimePoint deadline, Executed done) const;
  // Whether its networks were lost with the daemon.
  bool IsLost() const { return neuron != nullptr && neuron->IsLost(); }
};

// Reads folder/saved_model.pb and loads its networks. Returns errors of ReadSavedModelFile(),
// BuildGraph() and the daemon. `batching` may be null and must outlive the servable.
Result<std::shared_ptr<const Servable>> LoadServable(const std::string& model, int64_t version,
                                                     const std::string& folder,
                                                     const std::shared_ptr<NeuronRuntime>& runtime,
                                                     BatchScheduler* batching);

}  // namespace nrtd::serving
