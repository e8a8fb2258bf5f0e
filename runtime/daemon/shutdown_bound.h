// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <thread>

#include "base/clock.h"
#include "base/mutex.h"

namespace nrtd::daemon {

// Sees to it that a daemon that was told to end does so in time, whatever its clients do. From its
// construction on calls in flight have kShutdownGrace (base/timeouts.h) to end; then `cut_off` is
// called, which ends what still runs. If this has not been destroyed by kShutdownBound, `give_up`
// is called, which ends the process. Both on a thread of its own; the destructor waits for it.
class ShutdownBound {
 public:
  ShutdownBound(Clock& clock, std::function<void()> cut_off, std::function<void()> give_up);
  ~ShutdownBound();
  ShutdownBound(const ShutdownBound&) = delete;
  ShutdownBound& operator=(const ShutdownBound&) = delete;

 private:
  // Until it is over (true) or the deadline has passed.
  bool OverBy(TimePoint deadline);

  Clock& clock_;
  Mutex mutex_;
  CondVar changed_;
  bool over_ NRTD_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace nrtd::daemon
