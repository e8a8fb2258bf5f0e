// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "serving/graph/executor.h"
#include "serving/neuron/copies.h"
#include "serving/neuron/neuron_runtime.h"
#include "serving/neuron/tensor_sets.h"

namespace nrtd::serving {

// The networks of one graph, loaded and started. They are unloaded by the destructor, which waits
// for inferences under way. Threadsafe.
class NeuronModel final : public NeuronRunner {
 public:
  // Each executable gets NeuronCores of its own as long as there are any. Then the first one of an
  // op shares others' with them, and the further ones, also those that the daemon has no memory
  // for, are left out, with a line in the log. Errors of the daemon, with the node.
  static Result<std::unique_ptr<NeuronModel>> Load(const Graph& graph,
                                                   std::shared_ptr<NeuronRuntime> runtime);
  ~NeuronModel() override;

  Result<std::vector<Tensor>> Run(const op::Neuron& op, std::vector<Tensor> inputs,
                                  TimePoint deadline) override;
  // Where the inputs are not of a compiled size, the calling thread hands NeuronOptions::queue over
  // and waits; kResource where no other thread is left for that.
  void Start(const op::Neuron& op, std::vector<Tensor> inputs, TimePoint deadline,
             NeuronDone done) override;
  bool IsLost() const override { return runtime_->is_lost(); }

 private:
  explicit NeuronModel(std::shared_ptr<NeuronRuntime> runtime) : runtime_(std::move(runtime)) {}
  class Started;
  // An executable that is loaded.
  struct Loaded {
    Loaded(NeuronRuntime& runtime, const op::Neuron& op, int64_t batch_size)
        : batch(batch_size), sets(runtime, op, batch_size) {}
    const int64_t batch;
    Copies copies;
    TensorSets sets;
  };
  // Those of one op.
  struct Variants {
    std::vector<int64_t> batches;  // ascending
    std::map<int64_t, Loaded> by_batch;
  };
  Result<void> LoadOp(const op::Neuron& op);
  Result<void> LoadExecutable(const op::Neuron& op, const op::Executable& executable,
                              const std::shared_ptr<const CorePlace>& place);
  void Unload(const Copies& copies);
  // What runs on a group.
  Result<void> Change(uint32_t running, uint32_t wanted);
  // Makes the copy's network the one that runs on its group. Errors of CoreGroup::Enter().
  Result<void> Enter(const Copies::Copy& copy, TimePoint deadline);
  // On one of the copies.
  Result<std::vector<Tensor>> RunOnOne(const op::Neuron& op, Loaded& loaded,
                                       std::vector<Tensor> inputs, TimePoint deadline);
  Result<std::vector<Tensor>> Infer(const op::Neuron& op, uint32_t network, Loaded& loaded,
                                    std::vector<Tensor> inputs, TimePoint deadline);
  void CountInference(TimePoint began);

  const std::shared_ptr<NeuronRuntime> runtime_;
  SteadyClock clock_;
  std::deque<Variants> ops_;  // by op::Neuron::number; as they are from Load() on
};

}  // namespace nrtd::serving
