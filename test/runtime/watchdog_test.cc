// SPDX-License-Identifier: Apache-2.0
#include "runtime/watchdog.h"

#include <atomic>
#include <future>
#include <memory>
#include <optional>

#include <gmock/gmock.h>

namespace nrtd::runtime {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;

class WatchdogTest : public ::testing::Test {
 protected:
  TimePoint In(int count) { return time_.Now() + seconds(count); }
  // What was called, in order, when `count` callbacks have come.
  std::vector<int> AwaitCalls(size_t count) {
    MutexLock lock(mutex_);
    while (calls_.size() < count) called_.Wait(mutex_);
    return calls_;
  }
  std::unique_ptr<Watchdog::Timer> Timer(int number) {
    return std::make_unique<Watchdog::Timer>(watchdog_, [this, number] { Call(number); });
  }
  void Call(int number) {
    MutexLock lock(mutex_);
    calls_.push_back(number);
    called_.NotifyAll();
  }

  ManualClock time_;
  Watchdog watchdog_{time_};
  Mutex mutex_;
  CondVar called_;
  std::vector<int> calls_ NRTD_GUARDED_BY(mutex_);
};

TEST_F(WatchdogTest, DeadlinesPassInTheirOrder) {
  std::vector<std::unique_ptr<Watchdog::Timer>> timers;
  for (const int number : {3, 1, 5, 2, 4}) {
    timers.push_back(Timer(number));
    timers.back()->Set(In(number));
  }
  time_.Advance(seconds(3));
  EXPECT_THAT(AwaitCalls(3), ElementsAre(1, 2, 3));
  time_.Advance(seconds(2));
  EXPECT_THAT(AwaitCalls(5), ElementsAre(1, 2, 3, 4, 5));
}

TEST_F(WatchdogTest, ACancelledTimerDoesNotCall) {
  const auto cancelled = Timer(1);
  const auto kept = Timer(2);
  auto gone = Timer(3);
  cancelled->Set(In(1));
  kept->Set(In(2));
  gone->Set(In(1));
  cancelled->Cancel();
  gone.reset();
  time_.Advance(seconds(5));
  EXPECT_THAT(AwaitCalls(1), ElementsAre(2));
}

TEST_F(WatchdogTest, ATimerIsBroughtForwardButNotPutOff) {
  const auto first = Timer(1);
  const auto second = Timer(2);
  first->Set(In(4));
  second->Set(In(3));
  first->SetNoLaterThan(In(2));
  first->SetNoLaterThan(In(9));
  time_.Advance(seconds(2));
  EXPECT_THAT(AwaitCalls(1), ElementsAre(1));
  second->Set(In(5));  // in 5 s from now
  first->Set(In(2));
  time_.Advance(seconds(2));
  EXPECT_THAT(AwaitCalls(2), ElementsAre(1, 1));
}

TEST_F(WatchdogTest, ACallbackMaySetItsTimerAgain) {
  std::atomic<int> calls{0};
  Watchdog::Timer* self = nullptr;
  std::promise<void> done;
  Watchdog::Timer timer(watchdog_, [&] {
    if (++calls < 3) {
      self->Set(time_.Now());
    } else {
      done.set_value();
    }
  });
  self = &timer;
  timer.Set(time_.Now());
  done.get_future().wait();
  EXPECT_EQ(calls, 3);
}

TEST_F(WatchdogTest, ACallbackMayDestroyItsTimer) {
  std::promise<void> done;
  std::optional<Watchdog::Timer> timer;
  timer.emplace(watchdog_, [&] {
    std::promise<void>* const told = &done;
    timer.reset();
    told->set_value();
  });
  timer->Set(time_.Now());
  done.get_future().wait();
}

TEST_F(WatchdogTest, DestroyingATimerWaitsForItsCallback) {
  std::promise<void> entered;
  std::promise<void> leave;
  std::atomic<bool> returned{false};
  auto timer = std::make_unique<Watchdog::Timer>(watchdog_, [&] {
    entered.set_value();
    leave.get_future().wait();
    returned = true;
  });
  timer->Set(time_.Now());
  entered.get_future().wait();
  auto destroyed = std::async(std::launch::async, [&] {
    timer.reset();
    return returned.load();
  });
  leave.set_value();
  EXPECT_TRUE(destroyed.get());
}

TEST_F(WatchdogTest, ManyTimersSetAndCancelledAtRandomKeepTheirOrder) {
  constexpr int kTimers = 200;
  std::vector<std::unique_ptr<Watchdog::Timer>> timers;
  for (int i = 0; i < kTimers; ++i) timers.push_back(Timer(i));
  uint32_t random = 1;
  const auto next = [&] { return random = random * 1'664'525 + 1'013'904'223; };
  for (int i = 0; i < 2'000; ++i) {
    Watchdog::Timer& timer = *timers[(next() >> 8) % kTimers];
    if (next() >> 31 == 0) {
      timer.Set(In(static_cast<int>((next() >> 8) % 100) + 1));
    } else {
      timer.Cancel();
    }
  }
  for (int i = 0; i < kTimers; ++i) timers[static_cast<size_t>(i)]->Set(In(1 + (i * 37) % kTimers));
  for (int second = 1; second <= kTimers; ++second) {
    time_.Advance(seconds(1));
    const std::vector<int> calls = AwaitCalls(static_cast<size_t>(second));
    ASSERT_EQ(calls.size(), static_cast<size_t>(second));
    ASSERT_EQ(1 + (calls.back() * 37) % kTimers, second);
  }
}

}  // namespace
}  // namespace nrtd::runtime
