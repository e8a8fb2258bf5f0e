// SPDX-License-Identifier: Apache-2.0
//
// Whether and when a call may begin.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <optional>

#include <grpcpp/support/status.h>

#include "rpc/call_queue.h"
#include "runtime/ledger/rate_limiter.h"
#include "runtime/service/call_context.h"
#include "runtime/service/clients.h"
#include "runtime/service/socket_meter.h"

namespace nrtd::service {

// Threadsafe.
class Gate {
 public:
  // All outlive the gate. `cut_off` ends the connection of a client that goes on calling although
  // it is refused; called by any thread.
  Gate(const Clients& clients, SocketMeter& meter, runtime::RateLimiter& rate,
       std::function<void(const runtime::Client&)> cut_off)
      : clients_(clients), meter_(meter), rate_(rate), cut_off_(std::move(cut_off)) {}

  enum class Entry { kNow, kLater, kNever };
  // A call that counts in its client's rate has been received, with a request of so many bytes
  // unless it is a stream; finds its client. kLater: `task` is posted when the call may begin,
  // perhaps before this returns. kNever: `refused` says why. Does not throw.
  Entry Enter(CallContext& context, std::optional<size_t> request_bytes, rpc::CallQueue& queue,
              rpc::Task& task, grpc::Status* refused);
  // The same for a call that does not count: never kLater. `collects`: also while the daemon ends.
  Entry EnterFreely(CallContext& context, size_t request_bytes, bool collects,
                    grpc::Status* refused);
  // First of all when a call begins that counts. Much may have happened if it waited: not OK, and
  // it never begins.
  grpc::Status Begin(CallContext& context);

  // From now on only what collects results begins.
  void SetEnding() { ending_.store(true); }
  // UNAVAILABLE, as of a daemon that has ended already.
  grpc::Status CheckServing() const;

 private:
  void FindClient(CallContext& context, std::optional<size_t> request_bytes);
  grpc::Status CheckThere(const CallContext& context) const;
  Entry Admit(CallContext& context, bool may_wait, rpc::CallQueue& queue, rpc::Task& task,
              grpc::Status* refused);

  const Clients& clients_;
  SocketMeter& meter_;
  runtime::RateLimiter& rate_;
  const std::function<void(const runtime::Client&)> cut_off_;
  std::atomic<bool> ending_{false};
};

}  // namespace nrtd::service
