// SPDX-License-Identifier: Apache-2.0
#include "runtime/daemon/shutdown_bound.h"

#include <utility>

#include "base/timeouts.h"

namespace nrtd::daemon {

ShutdownBound::ShutdownBound(Clock& clock, std::function<void()> cut_off,
                             std::function<void()> give_up)
    : clock_(clock),
      thread_(
          [this, begun = clock.Now(), cut_off = std::move(cut_off), give_up = std::move(give_up)] {
            if (OverBy(begun + kShutdownGrace)) return;
            cut_off();
            if (!OverBy(begun + kShutdownBound)) give_up();
          }) {}

ShutdownBound::~ShutdownBound() {
  {
    MutexLock lock(mutex_);
    over_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

bool ShutdownBound::OverBy(TimePoint deadline) {
  MutexLock lock(mutex_);
  while (!over_ && clock_.Now() < deadline) clock_.WaitUntil(changed_, mutex_, deadline);
  return over_;
}

}  // namespace nrtd::daemon
