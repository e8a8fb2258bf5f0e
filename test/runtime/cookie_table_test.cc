// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/cookie_table.h"

#include "base/timeouts.h"
#include "test/runtime/runtime_fixture.h"

namespace nrtd::runtime {
namespace {

using std::chrono::seconds;

class CookieTableTest : public NetworkFixture {
 protected:
  CookieTableTest() { Must(network_->Start()); }

  uint64_t Post(Network& network, float value, Completion completion = Completion::kInterrupt) {
    Inference inference = Must(network.Begin());
    Fill(inference, value);
    Must(inference.Submit(completion));
    return table_.Add(std::move(inference));
  }

  // The sweep that was due has run: the watchdog calls back in the order of the deadlines.
  void AwaitSweep() {
    std::promise<void> called;
    Watchdog::Timer after(machine_->watchdog(), [&] { called.set_value(); });
    after.Set(time_.Now() + std::chrono::nanoseconds(1));
    time_.Advance(std::chrono::nanoseconds(1));
    called.get_future().wait();
  }

  std::shared_ptr<Network> network_ = Load(DoublingSpec(1), Group(1), 3);
  CookieTable table_{*machine_};
};

TEST_F(CookieTableTest, ACookieIsNeverZeroAndUsedOnce) {
  const uint64_t cookie = Post(*network_, 5);
  EXPECT_NE(cookie, 0U);
  Inference inference = Must(table_.Take(cookie));
  EXPECT_EQ(inference.Wait().code, Nerr::kOk);
  EXPECT_EQ(OutputOf(inference)[0], Doubled(5, 1));
  const auto again = table_.Take(cookie);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Nerr::kInvalidHandle);
  EXPECT_EQ(table_.TakeIfDone(cookie).error().code, Nerr::kInvalidHandle);
  EXPECT_EQ(table_.Take(0).error().code, Nerr::kInvalidHandle);
}

TEST_F(CookieTableTest, CookiesCanBeCollectedInAnyOrder) {
  const uint64_t first = Post(*network_, 1);
  const uint64_t second = Post(*network_, 2);
  const uint64_t third = Post(*network_, 3);
  for (const auto& [cookie, value] : {std::pair{third, 3.0F}, {first, 1.0F}, {second, 2.0F}}) {
    Inference inference = Must(table_.Take(cookie));
    EXPECT_EQ(inference.Wait().code, Nerr::kOk);
    EXPECT_EQ(OutputOf(inference)[0], Doubled(value, 1));
  }
}

TEST_F(CookieTableTest, APollAnswersPendingAndKeepsTheCookie) {
  const uint64_t cookie = Post(*network_, 1, Completion::kPolled);  // nobody drives it
  const auto pending = table_.TakeIfDone(cookie);
  ASSERT_FALSE(pending);
  EXPECT_EQ(static_cast<int>(pending.error().code), 1000);
  Inference behind = Must(network_->Begin());
  Fill(behind, 2);
  Must(behind.Submit(Completion::kPolled));
  EXPECT_EQ(behind.Wait().code, Nerr::kOk);
  Inference inference = Must(table_.TakeIfDone(cookie));
  EXPECT_EQ(inference.Wait().code, Nerr::kOk);
  EXPECT_EQ(OutputOf(inference)[0], Doubled(1, 1));
}

TEST_F(CookieTableTest, APollOfAHungCoreEndsAtTheDeadline) {
  FaultsOf(0).hang = true;
  const uint64_t cookie = Post(*network_, 1);
  EXPECT_EQ(table_.TakeIfDone(cookie).error().code, Nerr::kInferPending);
  time_.Advance(seconds(3));
  Inference inference = Must(table_.TakeIfDone(cookie));
  EXPECT_EQ(inference.Wait().code, Nerr::kTimeout);
}

TEST_F(CookieTableTest, DroppingANetworkFreesItsSlotsAndLeavesOthersAlone) {
  const auto other = Load(DoublingSpec(1), Group(1));
  Must(other->Start());
  const uint64_t mine = Post(*network_, 1);
  const uint64_t theirs = Post(*other, 2);
  table_.DropNetwork(network_->info().id);
  EXPECT_EQ(table_.Take(mine).error().code, Nerr::kInvalidHandle);
  Must(network_->Stop());
  Must(network_->Retire());
  network_->AwaitReleased();
  EXPECT_EQ(network_->slots_in_use(), 0U);
  EXPECT_EQ(Must(table_.Take(theirs)).Wait().code, Nerr::kOk);
}

TEST_F(CookieTableTest, WhatAProcessPostedGoesWithIt) {
  Inference theirs = Must(network_->Begin());
  Fill(theirs, 1);
  Must(theirs.Submit(Completion::kInterrupt));
  const uint64_t cookie = table_.Add(std::move(theirs), {.process = 7});
  const uint64_t nobodys = Post(*network_, 2);
  table_.DropProcess(kAnyProcess);
  table_.DropProcess(8);
  EXPECT_TRUE(table_.Done(cookie));
  table_.DropProcess(7);
  EXPECT_EQ(table_.Take(cookie).error().code, Nerr::kInvalidHandle);
  EXPECT_EQ(Must(table_.Take(nobodys)).Wait().code, Nerr::kOk);
}

TEST_F(CookieTableTest, AnInferenceThatNobodyCollectsGivesItsSlotBack) {
  const uint64_t cookie = Post(*network_, 1);
  while (!Must(table_.Done(cookie))) std::this_thread::yield();
  for (Duration waited{}; waited < kUncollectedFor; waited += kUncollectedSweep) {
    time_.Advance(kUncollectedSweep);
    EXPECT_EQ(network_->slots_in_use(), 1U);
    AwaitSweep();
  }
  time_.Advance(kUncollectedSweep);
  while (network_->slots_in_use() != 0) std::this_thread::yield();
  EXPECT_EQ(table_.Take(cookie).error().code, Nerr::kInvalidHandle);
}

TEST_F(CookieTableTest, AnInferenceThatRunsStillIsNotDroppedHoweverLong) {
  const auto slow = Load(DoublingSpec(1), Group(1), 1, std::chrono::hours(24));
  Must(slow->Start());
  FaultsOf(1).hang = true;
  const uint64_t cookie = Post(*slow, 1);
  for (int i = 0; i < 30; ++i) {
    time_.Advance(kUncollectedSweep);
    AwaitSweep();
  }
  EXPECT_FALSE(Must(table_.Done(cookie)));
  table_.DropNetwork(slow->info().id);
  auto retired =
      std::async(std::launch::async, [&] { return slow->Retire(Network::Urgency::kAtOnce); });
  time_.AwaitWaiters(1);
  time_.Advance(kAbandonedGrace);
  Must(retired.get());
}

TEST_F(CookieTableTest, AnInferencePostedWhileItsNetworkGoesIsDropped) {
  Inference inference = Must(network_->Begin());
  Fill(inference, 1);
  Must(inference.Submit(Completion::kInterrupt));
  Must(network_->Retire());
  table_.DropNetwork(network_->info().id);
  const uint64_t cookie = table_.Add(std::move(inference));
  EXPECT_EQ(network_->slots_in_use(), 0U);
  EXPECT_EQ(table_.Take(cookie).error().code, Nerr::kInvalidHandle);
}

}  // namespace
}  // namespace nrtd::runtime
