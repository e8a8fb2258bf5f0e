// SPDX-License-Identifier: Apache-2.0
#include "rpc/grpc_settings.h"

#include <cstdlib>

#include <absl/synchronization/mutex.h>

namespace nrtd::rpc {

void SetUpLocks() {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

void UsePoll() {
  // gRPC's epoll engine wakes a thread by a descriptor whenever an event is added to a queue. Where
  // the thread at the queue adds most of them itself, a lone request took a seventh longer.
  constexpr int kUnlessSet = 0;
  (void)::setenv("GRPC_POLL_STRATEGY", "poll", kUnlessSet);
}

}  // namespace nrtd::rpc
