// SPDX-License-Identifier: Apache-2.0
//
// Time is injected: whoever waits or stamps takes a Clock&. The daemon has one SteadyClock; tests
// have a ManualClock and move it, so that no test sleeps to be right.
#pragma once

#include <chrono>
#include <vector>

#include "base/mutex.h"

namespace nrtd {

using Duration = std::chrono::nanoseconds;
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint Now() = 0;

  // Waits on `condition` until it is notified or the deadline has passed; may return early. `mutex`
  // is held by the caller, let go while waiting, held again on return.
  virtual void WaitUntil(CondVar& condition, Mutex& mutex, TimePoint deadline)
      NRTD_REQUIRES(mutex) = 0;
  // The same for a thread that always waits on this clock, which a test does not count.
  virtual void WaitInBackground(CondVar& condition, Mutex& mutex, TimePoint deadline)
      NRTD_REQUIRES(mutex) {
    WaitUntil(condition, mutex, deadline);
  }
};

class SteadyClock final : public Clock {
 public:
  TimePoint Now() override;
  void WaitUntil(CondVar& condition, Mutex& mutex, TimePoint deadline) override
      NRTD_REQUIRES(mutex);
};

// Time that stands still until Advance(), which wakes every waiter so that it looks again.
// Threadsafe.
class ManualClock final : public Clock {
 public:
  TimePoint Now() override;
  void WaitUntil(CondVar& condition, Mutex& mutex, TimePoint deadline) override
      NRTD_REQUIRES(mutex) {
    Wait(condition, mutex, deadline, /*counted=*/true);
  }
  void WaitInBackground(CondVar& condition, Mutex& mutex, TimePoint deadline) override
      NRTD_REQUIRES(mutex) {
    Wait(condition, mutex, deadline, /*counted=*/false);
  }
  void Advance(Duration by);

  // Blocks until `count` threads wait on this clock, those in the background not counted: what a
  // test calls before it advances.
  void AwaitWaiters(size_t count);

 private:
  struct Waiter {
    CondVar* condition;
    Mutex* mutex;
    bool counted;
  };
  void Wait(CondVar& condition, Mutex& mutex, TimePoint deadline, bool counted)
      NRTD_REQUIRES(mutex);
  size_t CountedWaiters() const NRTD_REQUIRES(mutex_);
  Mutex mutex_;
  CondVar waiters_changed_;
  TimePoint now_ NRTD_GUARDED_BY(mutex_){};
  std::vector<Waiter> waiters_ NRTD_GUARDED_BY(mutex_);
};

}  // namespace nrtd
