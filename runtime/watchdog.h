// SPDX-License-Identifier: Apache-2.0
//
// Deadlines that the daemon keeps itself: one thread that calls back when they pass.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"

namespace nrtd::runtime {

// Threadsafe. Timers are kept in a heap: setting and cancelling one takes O(log n) and, once the
// heap has grown, no memory.
class Watchdog {
 public:
  class Timer;
  // Starts the thread; throws std::system_error when the system has none. `clock` outlives this.
  explicit Watchdog(Clock& clock);
  // Every timer is gone.
  ~Watchdog();
  // No callback comes any more. Called once; timers may still be set and cancelled.
  void Stop() NRTD_EXCLUDES(mutex_);
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  void Set(Timer& timer, TimePoint deadline, bool only_earlier) NRTD_EXCLUDES(mutex_);
  void Cancel(Timer& timer, bool await_callback) NRTD_EXCLUDES(mutex_);
  void Remove(Timer& timer) NRTD_REQUIRES(mutex_);
  void Place(size_t index, Timer* timer) NRTD_REQUIRES(mutex_);
  void MoveUp(size_t index) NRTD_REQUIRES(mutex_);
  void MoveDown(size_t index) NRTD_REQUIRES(mutex_);
  void Run() NRTD_EXCLUDES(mutex_);

  Clock& clock_;
  Mutex mutex_;
  CondVar changed_;
  CondVar returned_;
  bool stop_ NRTD_GUARDED_BY(mutex_) = false;
  std::vector<Timer*> heap_ NRTD_GUARDED_BY(mutex_);  // the earliest first
  Timer* running_ NRTD_GUARDED_BY(mutex_) = nullptr;  // its callback is being called
  std::thread thread_;
};

// One deadline at a time. The callback runs on the watchdog's thread, without a lock, and must not
// block: it hands work to others (Workers). It may set the timer again, or destroy it.
class Watchdog::Timer {
 public:
  // `watchdog` outlives the timer.
  Timer(Watchdog& watchdog, std::function<void()> callback)
      : watchdog_(watchdog), callback_(std::move(callback)) {}
  // Cancels. A callback in flight has returned afterwards, unless it is the caller.
  ~Timer() { watchdog_.Cancel(*this, /*await_callback=*/true); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  void Set(TimePoint deadline) { watchdog_.Set(*this, deadline, /*only_earlier=*/false); }
  // Sets it unless it is set for that time or earlier, which costs one atomic load.
  void SetNoLaterThan(TimePoint deadline) {
    if (deadline_.load() > deadline) watchdog_.Set(*this, deadline, /*only_earlier=*/true);
  }
  // A callback in flight is not waited for.
  void Cancel() { watchdog_.Cancel(*this, /*await_callback=*/false); }

 private:
  friend class Watchdog;
  static constexpr size_t kNowhere = static_cast<size_t>(-1);
  Watchdog& watchdog_;
  const std::function<void()> callback_;
  // Written with the watchdog's lock held. TimePoint::max(): not set.
  std::atomic<TimePoint> deadline_{TimePoint::max()};
  size_t index_ = kNowhere;  // in the heap; guarded by the watchdog's lock
};

}  // namespace nrtd::runtime
