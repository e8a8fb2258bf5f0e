// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <stop_token>

#include "driver_shim/waker.h"
#include "proto/nrt/nmgr.pb.h"
#include "rpc/call_queue.h"
#include "runtime/model/network.h"
#include "runtime/service/call_context.h"
#include "runtime/service/tensor_transfer.h"

namespace nrtd::service {

class NmgrService;

// Sees an inference to its end for the call that waits for it, and answers. The call's thread
// drives the core itself if no other thread does; otherwise the call holds no thread until the core
// is free or the inference has ended. Part of its call; reusable after each answer. Allocates
// nothing.
class InferenceWait final : private Waker, private rpc::Task {
 public:
  // Both outlive this.
  InferenceWait(rpc::CallQueue& queue, rpc::Deferred& call) : queue_(queue), call_(call) {}

  rpc::Deferred& call() const { return call_; }
  // What the answer takes; all outlive the wait.
  struct Answer {
    NmgrService* service = nullptr;
    const CallContext* context = nullptr;
    const TensorList* shm_outputs = nullptr;
    nrt::infer_response* response = nullptr;
  };
  // Answers the call in the end, perhaps before this returns. The inference is cancelled when the
  // client gives up.
  void Begin(const Answer& answer, runtime::Inference inference);

 private:
  void Wake() override { queue_.Post(*this); }
  void Run() override;

  rpc::CallQueue& queue_;
  rpc::Deferred& call_;
  Answer answer_;
  std::optional<runtime::Inference> inference_;
  std::optional<std::stop_callback<std::function<void()>>> cancel_;
};

}  // namespace nrtd::service
