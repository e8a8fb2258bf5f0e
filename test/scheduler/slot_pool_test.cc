// SPDX-License-Identifier: Apache-2.0
#include "scheduler/slot_pool.h"

#include <future>
#include <set>

#include "test/scheduler/pipeline_fixture.h"

namespace nrtd::scheduler {
namespace {

using std::chrono::seconds;

class SlotPoolTest : public PipelineFixture {
 protected:
  // An inference that a failed test leaves behind must end before its slot goes.
  ~SlotPoolTest() override {
    OpenGates();
    for (const auto& channel : channels_) channel->Reset(Nerr::kInferCancelled, "the test is over");
  }
  std::future<bool> AwaitAside(TimePoint deadline) {
    return std::async(std::launch::async,
                      [this, deadline] { return slots_.AwaitAllFree(time_, deadline); });
  }

  SlotPool slots_{MakeSlots(3)};
};

TEST_F(SlotPoolTest, TakeFailsExactlyWhenEverySlotIsTaken) {
  std::set<Slot*> taken;
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(slots_.in_use(), i);
    Slot* slot = slots_.Take();
    ASSERT_NE(slot, nullptr);
    EXPECT_TRUE(taken.insert(slot).second);
  }
  EXPECT_EQ(slots_.Take(), nullptr);
  slots_.Give(*taken.begin());
  EXPECT_EQ(slots_.Take(), *taken.begin());
  EXPECT_EQ(slots_.Take(), nullptr);
}

TEST_F(SlotPoolTest, TheLatestSlotGivenIsTakenFirst) {
  Slot* first = slots_.Take();
  Slot* second = slots_.Take();
  slots_.Give(second);
  slots_.Give(first);
  EXPECT_EQ(slots_.Take(), first);
  EXPECT_EQ(slots_.Take(), second);
}

TEST_F(SlotPoolTest, AnAbandonedSlotIsNotTakenBeforeItsInferenceHasEnded) {
  for (const Completion completion : {Completion::kPolled, Completion::kInterrupt}) {
    Slot* abandoned = slots_.Take();
    Slot* others[] = {slots_.Take(), slots_.Take()};
    gated_[0]->before_poll.Close();
    Fill(*abandoned, 1);
    Must(abandoned->Submit(completion));
    slots_.Abandon(abandoned);
    gated_[0]->before_poll.AwaitArrival();  // goes on by itself
    EXPECT_EQ(slots_.Take(), nullptr);
    EXPECT_EQ(slots_.in_use(), 3U);
    gated_[0]->before_poll.Open();
    ASSERT_TRUE(abandoned->Wait(Soon()));
    EXPECT_EQ(abandoned->TakeOutcome().code, Nerr::kInferCancelled);  // its second stage
    EXPECT_EQ(slots_.Take(), abandoned);
    slots_.Give(abandoned);
    for (Slot* slot : others) slots_.Give(slot);
  }
}

TEST_F(SlotPoolTest, AnAbandonedInferenceThatHadEndedFreesItsSlotAtOnce) {
  Slot* slot = slots_.Take();
  Fill(*slot, 1);
  Must(slot->Submit(Completion::kPolled));
  ASSERT_TRUE(slot->Wait(Soon()));
  slots_.Abandon(slot);
  EXPECT_EQ(slots_.in_use(), 0U);
}

TEST_F(SlotPoolTest, AwaitAllFreeReturnsAtOnceWhenNothingIsTaken) {
  EXPECT_TRUE(slots_.AwaitAllFree(time_, time_.Now()));
}

TEST_F(SlotPoolTest, AwaitAllFreeWaitsForTheOwner) {
  Slot* slot = slots_.Take();
  auto all_free = AwaitAside(Soon());
  time_.AwaitWaiters(1);
  slots_.Give(slot);
  EXPECT_TRUE(all_free.get());
  EXPECT_EQ(slots_.in_use(), 0U);
}

TEST_F(SlotPoolTest, AwaitAllFreeWaitsForAnAbandonedInference) {
  Slot* slot = slots_.Take();
  Fill(*slot, 2);
  Must(slot->Submit(Completion::kPolled));
  slots_.Abandon(slot);
  EXPECT_TRUE(slots_.AwaitAllFree(time_, Soon()));
  EXPECT_EQ(slots_.in_use(), 0U);
}

TEST_F(SlotPoolTest, AwaitAllFreeNoticesAnAbandonWhileItWaits) {
  Slot* slot = slots_.Take();
  Fill(*slot, 2);
  Must(slot->Submit(Completion::kPolled));
  auto all_free = AwaitAside(Soon());
  time_.AwaitWaiters(1);
  slots_.Abandon(slot);
  EXPECT_TRUE(all_free.get());
}

TEST_F(SlotPoolTest, AwaitAllFreeGivesUpOnAnOwnerAtItsDeadline) {
  Slot* slot = slots_.Take();
  auto all_free = AwaitAside(Soon());
  time_.AwaitWaiters(1);
  time_.Advance(seconds(3));
  EXPECT_FALSE(all_free.get());
  EXPECT_EQ(slots_.in_use(), 1U);
  slots_.Give(slot);
}

TEST_F(SlotPoolTest, AwaitAllFreeGivesUpOnAHungInferenceAtItsDeadline) {
  device().core(0).faults().hang = true;
  Slot* slot = slots_.Take();
  Must(slot->Submit(Completion::kInterrupt));
  slots_.Abandon(slot);
  auto all_free = AwaitAside(Soon());
  time_.AwaitWaiters(1);
  time_.Advance(seconds(3));
  EXPECT_FALSE(all_free.get());
  EXPECT_EQ(slots_.in_use(), 1U);
  channels_[0]->Reset(Nerr::kTimeout, "core hung");
  EXPECT_TRUE(slots_.AwaitAllFree(time_, Soon()));
}

TEST_F(SlotPoolTest, TwoThreadsMayAwaitTheSameInference) {
  gated_[0]->before_poll.Close();
  Slot* slot = slots_.Take();
  Fill(*slot, 2);
  Must(slot->Submit(Completion::kInterrupt));
  slots_.Abandon(slot);
  gated_[0]->before_poll.AwaitArrival();
  auto one = AwaitAside(Soon());
  auto other = AwaitAside(Soon());
  time_.AwaitWaiters(2);
  gated_[0]->before_poll.Open();
  // The clock stands still: who is not woken stays.
  for (auto* each : {&one, &other}) {
    const bool woken = each->wait_for(seconds(10)) == std::future_status::ready;
    EXPECT_TRUE(woken);
    if (!woken) time_.Advance(seconds(3));
    EXPECT_TRUE(each->get());
  }
}

TEST_F(SlotPoolTest, ThreadsThatTakeGiveAndAbandonLoseNoSlot) {
  std::vector<std::thread> threads;
  std::atomic<int> begun{0};
  std::atomic<int> whole{0};  // by whoever waited; those abandoned may end with their first stage
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 150; ++i) {
        Slot* slot = slots_.Take();
        if (slot == nullptr) continue;
        Fill(*slot, 1);
        Must(slot->Submit(i % 2 == 0 ? Completion::kPolled : Completion::kInterrupt));
        ++begun;
        if ((i + t) % 3 == 0) {
          slots_.Abandon(slot);
          continue;
        }
        if (slot->Wait(Soon()) && slot->TakeOutcome().code == Nerr::kOk) ++whole;
        slots_.Give(slot);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(slots_.AwaitAllFree(time_, Soon()));
  EXPECT_EQ(slots_.in_use(), 0U);
  EXPECT_GE(Executions(1), static_cast<uint64_t>(whole));
  EXPECT_LE(Executions(1), static_cast<uint64_t>(begun));
  EXPECT_GT(whole, 0);
}

}  // namespace
}  // namespace nrtd::scheduler
