// SPDX-License-Identifier: Apache-2.0
//
// std::mutex and std::condition_variable with the names that clang's lock analysis understands.
// Guard a member with NRTD_GUARDED_BY(mutex_) and the compiler refuses an access without the lock.
#pragma once

#include <condition_variable>
#include <mutex>

#include "base/thread_annotations.h"

namespace nrtd {

class NRTD_CAPABILITY("mutex") Mutex {
 public:
  void Lock() NRTD_ACQUIRE() { mutex_.lock(); }
  void Unlock() NRTD_RELEASE() { mutex_.unlock(); }
  bool TryLock() NRTD_TRY_ACQUIRE(true) { return mutex_.try_lock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

// Holds a Mutex for a scope; may be let go and taken again in between.
class NRTD_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) NRTD_ACQUIRE(mutex) : mutex_(mutex) { mutex_.Lock(); }
  ~MutexLock() NRTD_RELEASE() {
    if (held_) mutex_.Unlock();
  }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  void Unlock() NRTD_RELEASE() {
    held_ = false;
    mutex_.Unlock();
  }
  void Lock() NRTD_ACQUIRE() {
    mutex_.Lock();
    held_ = true;
  }

 private:
  Mutex& mutex_;
  bool held_ = true;
};

// Waits may return early: the caller loops over its condition. Waits with a deadline go through
// Clock (base/clock.h), so that tests decide what time it is.
class CondVar {
 public:
  void Wait(Mutex& mutex) NRTD_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }
  void NotifyOne() { condition_.notify_one(); }
  void NotifyAll() { condition_.notify_all(); }

 private:
  friend class SteadyClock;
  template <typename TimePoint>
  void WaitUntil(Mutex& mutex, TimePoint deadline) NRTD_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    condition_.wait_until(lock, deadline);
    lock.release();
  }
  std::condition_variable condition_;
};

}  // namespace nrtd
