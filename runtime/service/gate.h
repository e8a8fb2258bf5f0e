// SPDX-License-Identifier: Apache-2.0
//
// Whether and when a call may begin.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>

#include <grpcpp/support/status.h>

#include "runtime/ledger/rate_limiter.h"
#include "runtime/service/call_context.h"
#include "runtime/service/call_queue.h"
#include "runtime/service/clients.h"

namespace nrtd::service {

// Threadsafe.
class Gate {
 public:
  // All outlive the gate. `cut_off` ends the connection of a client that goes on calling although
  // it is refused; called by any thread.
  Gate(const Clients& clients, runtime::RateLimiter& rate,
       std::function<void(const runtime::Client&)> cut_off)
      : clients_(clients), rate_(rate), cut_off_(std::move(cut_off)) {}

  enum class Entry { kNow, kLater, kNever };
  // A call that counts in its client's rate has been received; finds its client. kLater: `task` is
  // posted when the call may begin, perhaps before this returns, and then Return() comes first.
  // kNever: `refused` says why.
  Entry Enter(CallContext& context, size_t request_bytes, CallQueue& queue, Task& task,
              grpc::Status* refused);
  // Much may have happened while a call waited. Not OK: it never begins.
  grpc::Status Return(CallContext& context);
  // Of a call that does not count.
  void EnterFreely(CallContext& context) { context.SetClient(clients_.Find(context)); }

  // From now on only what collects results begins.
  void SetEnding() { ending_.store(true); }
  // UNAVAILABLE, as of a daemon that has ended already.
  grpc::Status CheckServing() const;

 private:
  grpc::Status CheckThere(CallContext& context) const;

  const Clients& clients_;
  runtime::RateLimiter& rate_;
  const std::function<void(const runtime::Client&)> cut_off_;
  std::atomic<bool> ending_{false};
};

}  // namespace nrtd::service
