// SPDX-License-Identifier: Apache-2.0
//
// Somebody always goes on polling while there is work that somebody waits for. A wake-up that is
// lost shows as a future that is not ready: the tests' clock stands still, so no deadline helps.
#include <future>

#include <gtest/gtest.h>

#include "driver_shim/core_channel.h"
#include "test/driver_shim/gated_core.h"
#include "test/driver_shim/sim_fixture.h"

namespace nrtd::sim {
namespace {

using std::chrono::seconds;

// How long a test that fails takes to notice it.
constexpr auto kPatience = seconds(10);

class CoreChannelWakeupTest : public SimFixture {
 protected:
  CoreChannelWakeupTest()
      : gated_(core()),
        program_(device(), *pool_, 4),
        channel_(Must(CoreChannel::Create(gated_, *pool_, time_))) {
    const uint32_t capacities[] = {16, 16};
    Must(channel_->Start(program_.rings(), capacities));
  }
  ~CoreChannelWakeupTest() override { gated_.after_poll.Open(); }

  void Submit(Execution& execution, Completion completion) {
    Must(channel_->Submit(execution, program_.rings(), program_.work(), completion));
  }
  // Another thread waits for it.
  std::future<bool> WaitAside(Execution& execution) {
    return std::async(std::launch::async, [this, &execution] {
      return channel_->Wait(execution, time_.Now() + seconds(2));
    });
  }
  // Ends a wait that was forgotten, so that the test fails instead of hanging.
  void ExpectEnds(std::future<bool>& wait) {
    const bool woken = wait.wait_for(kPatience) == std::future_status::ready;
    EXPECT_TRUE(woken) << "nobody woke the thread that waits";
    if (!woken) time_.Advance(seconds(3));
    wait.get();
  }

  ManualClock time_;
  GatedCore gated_;
  FunctionProgram program_;
  std::unique_ptr<CoreChannel> channel_;
};

TEST_F(CoreChannelWakeupTest, AWaiterGoesOnBehindAPolledExecutionThatNobodyWaitsFor) {
  Execution first;
  Execution forgotten;
  Execution last;
  Submit(first, Completion::kPolled);
  Submit(forgotten, Completion::kPolled);
  Submit(last, Completion::kPolled);
  gated_.after_poll.Close();
  auto first_wait = WaitAside(first);
  gated_.after_poll.AwaitArrival();
  auto last_wait = WaitAside(last);
  time_.AwaitWaiters(1);  // it sleeps, since the other one polls
  gated_.after_poll.Open();
  EXPECT_TRUE(first_wait.get());
  ExpectEnds(last_wait);
  EXPECT_TRUE(channel_->Done(forgotten));
}

TEST_F(CoreChannelWakeupTest, AnInterruptExecutionGoesOnBehindAPolledOneThatNobodyWaitsFor) {
  Execution forgotten;
  Execution posted;
  Submit(forgotten, Completion::kPolled);
  gated_.before_poll.Close();
  Submit(posted, Completion::kInterrupt);
  // Nobody waits: only the completion thread can arrive here.
  auto arrival = std::async(std::launch::async, [this] { gated_.before_poll.AwaitArrival(); });
  EXPECT_EQ(arrival.wait_for(kPatience), std::future_status::ready)
      << "the completion thread does not run the core";
  gated_.before_poll.Open();
  EXPECT_TRUE(channel_->Wait(posted, time_.Now() + seconds(2)));
}

TEST_F(CoreChannelWakeupTest, ASubmissionDuringAnIdlePollWakesItsWaiter) {
  core().faults().lose_notifications = 1;
  Execution lost;
  Submit(lost, Completion::kPolled);
  // The first poll ends the execution without a word; the second finds the core idle and is held
  // on its way back.
  gated_.before_poll.Close();
  auto lost_wait = WaitAside(lost);
  gated_.before_poll.AwaitArrival();
  gated_.after_poll.Close();
  gated_.before_poll.Open();
  gated_.after_poll.AwaitArrival();
  gated_.before_poll.Close();
  gated_.after_poll.Open();
  gated_.before_poll.AwaitArrival();
  gated_.after_poll.Close();
  gated_.before_poll.Open();
  gated_.after_poll.AwaitArrival();

  Execution next;
  Submit(next, Completion::kPolled);
  auto next_wait = WaitAside(next);
  time_.AwaitWaiters(1);  // sleeps, since the other one polls
  gated_.after_poll.Open();
  ExpectEnds(next_wait);
  ExpectEnds(lost_wait);
  EXPECT_EQ(next.outcome().code, Nerr::kOk);
  EXPECT_EQ(lost.outcome().code, Nerr::kHwError);
}

TEST_F(CoreChannelWakeupTest, AnInterruptSubmissionBesideAStalledWaiterIsDriven) {
  core().faults().hang = true;
  Execution stuck;
  Submit(stuck, Completion::kPolled);
  auto stuck_wait = WaitAside(stuck);
  time_.AwaitWaiters(1);  // the core hangs
  core().faults().hang = false;
  Execution posted;
  Submit(posted, Completion::kInterrupt);
  ExpectEnds(stuck_wait);
  EXPECT_TRUE(channel_->Wait(posted, time_.Now() + seconds(2)));
  EXPECT_EQ(posted.outcome().code, Nerr::kOk);
}

}  // namespace
}  // namespace nrtd::sim
