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

// The loaded networks of one graph. The destructor waits for inferences in flight and unloads the
// networks. Threadsafe.
class NeuronModel final : public NeuronRunner {
 public:
  // Gives each executable NeuronCores of its own while there are any. After that, the first
  // executable of an op shares the cores of others, and further ones are left out with a warning in
  // the log, as are those for which the daemon has no memory. Returns errors of the daemon, with
  // the node.
  static Result<std::unique_ptr<NeuronModel>> Load(const Graph& graph,
                                                   std::shared_ptr<NeuronRuntime> runtime);
  ~NeuronModel() override;

  Result<std::vector<Tensor>> Run(const op::Neuron& op, std::vector<Tensor> inputs,
                                  TimePoint deadline) override;
  // If the inputs do not have a compiled size, the calling thread hands NeuronOptions::queue over
  // and waits; kResource if no other thread can take the queue.
  void Start(const op::Neuron& op, std::vector<Tensor> inputs, TimePoint deadline,
             NeuronDone done) override;
  bool IsLost() const override { return runtime_->is_lost(); }

 private:
  explicit NeuronModel(std::shared_ptr<NeuronRuntime> runtime) : runtime_(std::move(runtime)) {}
  class Started;
  // A loaded executable.
  struct Loaded {
    Loaded(NeuronRuntime& runtime, const op::Neuron& op, int64_t batch_size)
        : batch(batch_size), sets(runtime, op, batch_size) {}
    const int64_t batch;
    Copies copies;
    TensorSets sets;
  };
  // The loaded executables of one op.
  struct Variants {
    std::vector<int64_t> batches;  // ascending
    std::map<int64_t, Loaded> by_batch;
  };
  Result<void> LoadOp(const op::Neuron& op);
  Result<void> LoadExecutable(const op::Neuron& op, const op::Executable& executable,
                              const std::shared_ptr<const CorePlace>& place);
  void Unload(const Copies& copies);
  // Changes which network runs on a group.
  Result<void> Change(uint32_t running, uint32_t wanted);
  // Runs the copy's network on its group. Returns errors of CoreGroup::Enter().
  Result<void> Enter(const Copies::Copy& copy, TimePoint deadline);
  // Infers on one of the copies.
  Result<std::vector<Tensor>> RunOnOne(const op::Neuron& op, Loaded& loaded,
                                       std::vector<Tensor> inputs, TimePoint deadline);
  Result<std::vector<Tensor>> Infer(const op::Neuron& op, uint32_t network, Loaded& loaded,
                                    std::vector<Tensor> inputs, TimePoint deadline);
  void CountInference(TimePoint began);

  const std::shared_ptr<NeuronRuntime> runtime_;
  SteadyClock clock_;
  std::deque<Variants> ops_;  // indexed by op::Neuron::number; unchanged after Load()
};

}  // namespace nrtd::serving
