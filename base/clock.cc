// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include <algorithm>

namespace nrtd {

TimePoint SteadyClock::Now() {
  return std::chrono::steady_clock::now();
}

void SteadyClock::WaitUntil(CondVar& condition, Mutex& mutex, TimePoint deadline) {
  condition.WaitUntil(mutex, deadline);
}

TimePoint ManualClock::Now() {
  MutexLock lock(mutex_);
  return now_;
}

namespace {

// The Advance() calls in progress, of all manual clocks: a test has one.
Mutex advancing_mutex;
CondVar advanced;
int advancing NRTD_GUARDED_BY(advancing_mutex) = 0;

void CountAdvance(int change) {
  MutexLock lock(advancing_mutex);
  advancing += change;
  advanced.NotifyAll();
}

void AwaitNoAdvance() {
  MutexLock lock(advancing_mutex);
  while (advancing > 0) advanced.Wait(advancing_mutex);
}

}  // namespace

void ManualClock::Wait(CondVar& condition, Mutex& mutex, TimePoint deadline, bool counted) {
  {
    MutexLock lock(mutex_);
    if (now_ >= deadline) return;
    waiters_.push_back({&condition, &mutex, counted});
    waiters_changed_.NotifyAll();
  }
  condition.Wait(mutex);
  // An Advance() that has seen this waiter still takes its mutex.
  mutex.Unlock();
  AwaitNoAdvance();
  mutex.Lock();
  MutexLock lock(mutex_);
  auto waiter = std::find_if(waiters_.begin(), waiters_.end(), [&](const Waiter& w) {
    return w.condition == &condition && w.mutex == &mutex;
  });
  waiters_.erase(waiter);
  waiters_changed_.NotifyAll();
}

void ManualClock::Advance(Duration by) NRTD_NO_THREAD_SAFETY_ANALYSIS {
  std::vector<Waiter> waiters;
  CountAdvance(1);
  {
    MutexLock lock(mutex_);
    now_ += by;
    waiters = waiters_;
  }
  // A waiter that has read the old time but does not wait yet still holds its mutex: take it once,
  // so that the notification cannot come too early. A waiter that wants to leave waits for the end
  // of this, so that its objects are still there.
  for (const Waiter& waiter : waiters) {
    waiter.mutex->Lock();
    waiter.condition->NotifyAll();  // with the lock: the condition may go as soon as it is woken
    waiter.mutex->Unlock();
  }
  CountAdvance(-1);
}

size_t ManualClock::CountedWaiters() const {
  return static_cast<size_t>(
      std::count_if(waiters_.begin(), waiters_.end(), [](const Waiter& w) { return w.counted; }));
}

void ManualClock::AwaitWaiters(size_t count) {
  MutexLock lock(mutex_);
  while (CountedWaiters() < count) waiters_changed_.Wait(mutex_);
}

}  // namespace nrtd
