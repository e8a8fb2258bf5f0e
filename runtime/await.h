// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <utility>

#include "base/clock.h"
#include "base/mutex.h"

namespace nrtd::runtime {

// The value that one thread waits for and another one sets, once.
template <typename T>
class Awaited {
 public:
  void Set(T value) {
    MutexLock lock(mutex_);
    value_ = std::move(value);
    set_.NotifyAll();  // with the lock: the waiter destroys this
  }
  // On the clock, so that a test with a manual one can tell that the caller waits.
  T Wait(Clock& clock) {
    MutexLock lock(mutex_);
    while (!value_) clock.WaitUntil(set_, mutex_, TimePoint::max());
    return std::move(*value_);
  }

 private:
  Mutex mutex_;
  CondVar set_;
  std::optional<T> value_ NRTD_GUARDED_BY(mutex_);
};

}  // namespace nrtd::runtime
