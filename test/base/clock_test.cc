// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace nrtd {
namespace {

using namespace std::chrono_literals;

// What users of Clock do: wait for a flag or a deadline, whichever comes first.
class Waiter {
 public:
  Waiter(Clock& clock, TimePoint deadline)
      : clock_(clock), deadline_(deadline), thread_([this] { Run(); }) {}
  ~Waiter() {
    if (thread_.joinable()) thread_.join();
  }

  void Signal() {
    MutexLock lock(mutex_);
    signalled_ = true;
    condition_.NotifyAll();
  }
  TimePoint Join() {
    thread_.join();
    MutexLock lock(mutex_);
    return woke_;
  }

 private:
  void Run() {
    MutexLock lock(mutex_);
    while (!signalled_ && clock_.Now() < deadline_) {
      clock_.WaitUntil(condition_, mutex_, deadline_);
    }
    woke_ = clock_.Now();
  }

  Clock& clock_;
  const TimePoint deadline_;
  Mutex mutex_;
  CondVar condition_;
  bool signalled_ NRTD_GUARDED_BY(mutex_) = false;
  TimePoint woke_ NRTD_GUARDED_BY(mutex_){};
  std::thread thread_;
};

TEST(ManualClock, StandsStillUntilItIsAdvanced) {
  ManualClock clock;
  const TimePoint start = clock.Now();
  EXPECT_EQ(clock.Now(), start);
  clock.Advance(2s);
  EXPECT_EQ(clock.Now(), start + 2s);
  clock.Advance(1ns);
  EXPECT_EQ(clock.Now(), start + 2s + 1ns);
}

TEST(ManualClock, ADeadlineThatHasPassedIsNotWaitedFor) {
  ManualClock clock;
  Mutex mutex;
  CondVar condition;
  clock.Advance(1s);
  MutexLock lock(mutex);
  clock.WaitUntil(condition, mutex, clock.Now());
  clock.WaitUntil(condition, mutex, clock.Now() - 1ns);
}

TEST(ManualClock, AWaiterWakesAtItsDeadlineAndNotBefore) {
  ManualClock clock;
  const TimePoint deadline = clock.Now() + 10s;
  Waiter waiter(clock, deadline);
  clock.AwaitWaiters(1);
  clock.Advance(10s - 1ns);
  clock.Advance(1ns);
  EXPECT_EQ(waiter.Join(), deadline);
}

TEST(ManualClock, ANotificationEndsTheWaitBeforeTheDeadline) {
  ManualClock clock;
  Waiter waiter(clock, clock.Now() + 10s);
  clock.AwaitWaiters(1);
  clock.Advance(3s);
  waiter.Signal();
  EXPECT_LE(waiter.Join(), clock.Now());
  EXPECT_EQ(clock.Now().time_since_epoch(), 3s);
}

TEST(ManualClock, EachOfManyWaitersKeepsItsOwnDeadline) {
  ManualClock clock;
  const TimePoint start = clock.Now();
  Waiter soon(clock, start + 1s);
  Waiter later(clock, start + 5s);
  clock.AwaitWaiters(2);
  clock.Advance(2s);
  EXPECT_EQ(soon.Join(), start + 2s);
  clock.Advance(4s);
  EXPECT_EQ(later.Join(), start + 6s);
}

TEST(ManualClock, NoWakeUpIsLostWhileAWaiterIsOnItsWayToSleep) {
  for (int i = 0; i < 300; ++i) {
    ManualClock clock;
    Waiter waiter(clock, clock.Now() + 1s);
    clock.Advance(1s);  // before, while or after the thread goes to sleep
    EXPECT_EQ(waiter.Join().time_since_epoch(), 1s);
  }
}

TEST(SteadyClock, NeverGoesBack) {
  SteadyClock clock;
  TimePoint last = clock.Now();
  for (int i = 0; i < 1000; ++i) {
    const TimePoint now = clock.Now();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(SteadyClock, WaitsUntilTheDeadlineButNotForever) {
  SteadyClock clock;
  const TimePoint deadline = clock.Now() + 1ms;
  Waiter waiter(clock, deadline);
  EXPECT_GE(waiter.Join(), deadline);
}

TEST(SteadyClock, ANotificationEndsTheWait) {
  SteadyClock clock;
  Waiter waiter(clock, clock.Now() + 24h);
  waiter.Signal();
  waiter.Join();
}

}  // namespace
}  // namespace nrtd
