// SPDX-License-Identifier: Apache-2.0
//
// The tensors of an executable's inferences in shared memory (NEURON_RTD_SHM_MAP).
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

// What one inference takes. Tensors of at most rpc::kShortMessage travel in the message.
struct TensorSet {
  std::vector<std::optional<client::SharedTensor>> inputs;  // by the op's
  std::vector<client::SharedTensor> outputs;                // of all, or of none
};

// Made where they are needed, and used again. Threadsafe.
class TensorSets {
 public:
  // The runtime outlives it.
  TensorSets(NeuronRuntime& runtime, const op::Neuron& op, int64_t batch);
  // None is taken.
  ~TensorSets();

  // Null: everything travels in the message, because it is small or the daemon has no shared memory
  // for us. May ask the daemon, and says BeforeLong() then.
  std::unique_ptr<TensorSet> Take();
  void GiveBack(std::unique_ptr<TensorSet> set);
  // Its inference has not ended well: the daemon may write into it still.
  void Drop(std::unique_ptr<TensorSet> set);

 private:
  Result<std::unique_ptr<TensorSet>> Make();

  NeuronRuntime& runtime_;
  std::vector<uint64_t> inputs_;  // bytes; 0: in the message
  std::vector<uint64_t> outputs_;
  Mutex mutex_;
  std::vector<std::unique_ptr<TensorSet>> free_ NRTD_GUARDED_BY(mutex_);
};

// The request of an inference; the inputs go into `set` where it has a place for them.
nrt::infer_request RequestOf(const op::Neuron& op, uint32_t network, std::vector<Tensor> inputs,
                             const TensorSet* set);
// The outputs of one that has ended well; taken out of the response. kFail: one is missing.
Result<std::vector<Tensor>> OutputsOf(const op::Neuron& op, int64_t batch,
                                      nrt::infer_response& response, const TensorSet* set);

}  // namespace nrtd::serving
