// SPDX-License-Identifier: Apache-2.0
//
// Shared memory for the tensors of an executable's inferences (NEURON_RTD_SHM_MAP).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "proto/nrt/nmgr.pb.h"
#include "serving/graph/graph.h"
#include "serving/neuron/neuron_runtime.h"
#include "tools/client/shared_tensor.h"

namespace nrtd::serving {

// The shared tensors of one inference. Tensors of at most rpc::kShortMessage travel in the message.
struct TensorSet {
  std::vector<std::optional<client::SharedTensor>> inputs;  // indexed as the op's
  std::vector<client::SharedTensor> outputs;                // one for each output, or empty
};

// A pool of tensor sets, which are created on demand and reused. Threadsafe.
class TensorSets {
 public:
  // `runtime` must outlive it.
  TensorSets(NeuronRuntime& runtime, const op::Neuron& op, int64_t batch);
  // Requires that every set was given back or dropped.
  ~TensorSets();

  // Returns null if all tensors travel in the message, because they are small or the daemon refuses
  // to share memory. Calls BeforeLong() before it asks the daemon for memory.
  std::unique_ptr<TensorSet> Take();
  void GiveBack(std::unique_ptr<TensorSet> set);
  // Frees the set of a failed inference. It is not reused, as the daemon may still write to it.
  void Drop(std::unique_ptr<TensorSet> set);

 private:
  Result<std::unique_ptr<TensorSet>> Make();

  NeuronRuntime& runtime_;
  std::vector<uint64_t> inputs_;  // bytes; 0: travels in the message
  std::vector<uint64_t> outputs_;
  Mutex mutex_;
  std::vector<std::unique_ptr<TensorSet>> free_ NRTD_GUARDED_BY(mutex_);
};

// Builds the request of an inference. Copies each input that has a place in `set` there.
nrt::infer_request RequestOf(const op::Neuron& op, uint32_t network, std::vector<Tensor> inputs,
                             const TensorSet* set);
// Moves the outputs of a successful inference out of the response. kFail if one is missing.
Result<std::vector<Tensor>> OutputsOf(const op::Neuron& op, int64_t batch,
                                      nrt::infer_response& response, const TensorSet* set);

}  // namespace nrtd::serving
