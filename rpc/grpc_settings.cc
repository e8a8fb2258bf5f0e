// SPDX-License-Identifier: Apache-2.0
#include "rpc/grpc_settings.h"

#include <cstdlib>

#include <absl/synchronization/mutex.h>

namespace nrtd::rpc {

void SetUpGrpc() {
  // gRPC's epoll engine wakes a thread by a descriptor whenever an event is added to a queue. With
  // one thread at the queue, which adds most of them itself, a small inference took 1.6 times as
  // long.
  constexpr int kUnlessSet = 0;
  (void)::setenv("GRPC_POLL_STRATEGY", "poll", kUnlessSet);
  // Debian's Abseil looks for deadlocks at every lock, for developers.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

}  // namespace nrtd::rpc
