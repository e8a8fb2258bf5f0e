// SPDX-License-Identifier: Apache-2.0
#include "rpc/grpc_settings.h"

#include <cstdlib>

#include <absl/synchronization/mutex.h>

namespace nrtd::rpc {

void SetUpLocks() {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

void UsePoll() {
  // gRPC's epoll engine writes to a wake-up descriptor for each event added to a queue. If the
  // thread at the queue adds most events itself, a lone request takes a seventh longer.
  constexpr int kUnlessSet = 0;
  (void)::setenv("GRPC_POLL_STRATEGY", "poll", kUnlessSet);
}

}  // namespace nrtd::rpc
