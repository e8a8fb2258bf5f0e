// SPDX-License-Identifier: Apache-2.0
#include "scheduler/slot.h"

#include <cmath>
#include <future>
#include <limits>

#include <gmock/gmock.h>

#include "test/scheduler/pipeline_fixture.h"

namespace nrtd::scheduler {
namespace {

using std::chrono::seconds;
using ::testing::Each;
using ::testing::HasSubstr;

class SlotTest : public PipelineFixture {
 protected:
  std::vector<float> Output(const Slot& slot) {
    return {Floats(slot, kOutput), Floats(slot, kOutput) + kCount};
  }
  std::future<bool> WaitAside(Slot& slot) {
    return std::async(std::launch::async, [this, &slot] { return slot.Wait(Soon()); });
  }
};

TEST_F(SlotTest, StageTwoReadsWhatStageOneWroteToTheSlot) {
  for (const Completion completion : {Completion::kPolled, Completion::kInterrupt}) {
    const auto slot = MakeSlot();
    Fill(*slot, 5);
    Must(slot->Submit(completion));
    EXPECT_TRUE(slot->in_flight());
    ASSERT_TRUE(slot->Wait(Soon()));
    EXPECT_FALSE(slot->in_flight());
    const InferenceOutcome outcome = slot->TakeOutcome();
    EXPECT_EQ(outcome.code, Nerr::kOk);
    EXPECT_EQ(outcome.detail, "");
    EXPECT_GT(outcome.device_ns, 0U);
    EXPECT_THAT(Output(*slot), Each(Expected(5)));
  }
}

TEST_F(SlotTest, ASlotServesOneInferenceAfterTheOther) {
  const auto slot = MakeSlot();
  for (int i = 0; i < 50; ++i) {
    const auto value = static_cast<float>(i);
    Fill(*slot, value);
    Must(slot->Submit(Completion::kPolled));
    ASSERT_TRUE(slot->Wait(Soon()));
    EXPECT_EQ(slot->TakeOutcome().code, Nerr::kOk);
    EXPECT_THAT(Output(*slot), Each(Expected(value)));
  }
}

TEST_F(SlotTest, BothCoresAreBusyWhenTwoSlotsAreInFlight) {
  const auto first = MakeSlot();
  const auto second = MakeSlot();
  Fill(*first, 1);
  Fill(*second, 2);
  Must(first->Submit(Completion::kPolled));
  gated_[1]->before_poll.Close();
  auto first_ends = WaitAside(*first);
  gated_[1]->before_poll.AwaitArrival();  // core 1 works on the first inference
  Must(second->Submit(Completion::kPolled));
  gated_[0]->after_poll.Close();
  auto second_ends = WaitAside(*second);
  gated_[0]->after_poll.AwaitArrival();  // and core 0 on the second one
  EXPECT_EQ(Executions(0), 2U);
  EXPECT_EQ(Executions(1), 0U);
  gated_[0]->after_poll.Open();
  gated_[1]->before_poll.Open();
  EXPECT_TRUE(first_ends.get());
  EXPECT_TRUE(second_ends.get());
  EXPECT_THAT(Output(*first), Each(Expected(1)));
  EXPECT_THAT(Output(*second), Each(Expected(2)));
}

TEST_F(SlotTest, InferencesEndInTheOrderOfTheirSubmission) {
  constexpr int kSlots = 6;
  const auto slots = MakeSlots(kSlots);
  for (int i = 0; i < kSlots; ++i) {
    Fill(*slots[i], static_cast<float>(i));
    Must(slots[i]->Submit(i % 2 == 0 ? Completion::kPolled : Completion::kInterrupt));
  }
  ASSERT_TRUE(slots[kSlots - 1]->Wait(Soon()));
  for (int i = 0; i < kSlots; ++i) {
    EXPECT_TRUE(slots[i]->Done()) << i;
    EXPECT_THAT(Output(*slots[i]), Each(Expected(static_cast<float>(i))));
  }
}

TEST_F(SlotTest, AFailureInStageOneDoesNotRunStageTwo) {
  constexpr BusAddress kNowhere = 0x1000;
  const auto slot = MakeSlot(kNowhere);
  Must(slot->Submit(Completion::kPolled));
  ASSERT_TRUE(slot->Wait(Soon()));
  const InferenceOutcome outcome = slot->TakeOutcome();
  EXPECT_EQ(outcome.code, Nerr::kInferCompletedWithErr);
  EXPECT_THAT(outcome.detail, HasSubstr("left mapped memory"));
  EXPECT_EQ(Executions(0), 1U);
  EXPECT_EQ(Executions(1), 0U);
}

TEST_F(SlotTest, TheInferenceBehindAFailedOneIsRight) {
  constexpr BusAddress kNowhere = 0x1000;
  const auto failing = MakeSlot(kNowhere);
  const auto good = MakeSlot();
  Fill(*good, 7);
  Must(failing->Submit(Completion::kPolled));
  Must(good->Submit(Completion::kPolled));
  ASSERT_TRUE(failing->Wait(Soon()));
  ASSERT_TRUE(good->Wait(Soon()));
  EXPECT_EQ(failing->TakeOutcome().code, Nerr::kInferCompletedWithErr);
  EXPECT_EQ(good->TakeOutcome().code, Nerr::kOk);
  EXPECT_THAT(Output(*good), Each(Expected(7)));
}

TEST_F(SlotTest, NaNPassesOnToStageTwoAndIsReported) {
  const auto slot = MakeSlot();
  Fill(*slot, 1);
  Floats(*slot, kInput)[2] = std::numeric_limits<float>::quiet_NaN();
  Must(slot->Submit(Completion::kPolled));
  ASSERT_TRUE(slot->Wait(Soon()));
  const InferenceOutcome outcome = slot->TakeOutcome();
  EXPECT_EQ(outcome.code, Nerr::kInferCompletedWithNumErr);
  EXPECT_THAT(outcome.detail, HasSubstr("INFER_ERROR_SUBTYPE_NUMERICAL"));
  EXPECT_EQ(Executions(1), 1U);
  EXPECT_EQ(Output(*slot)[1], Expected(1));
  EXPECT_TRUE(std::isnan(Output(*slot)[2]));
}

TEST_F(SlotTest, AStageThatCannotBeSubmittedEndsTheInferenceWithItsError) {
  StopStage(1);
  const auto slot = MakeSlot();
  Fill(*slot, 1);
  Must(slot->Submit(Completion::kPolled));
  ASSERT_TRUE(slot->Wait(Soon()));
  const InferenceOutcome outcome = slot->TakeOutcome();
  EXPECT_EQ(outcome.code, Nerr::kInvalid);
  EXPECT_THAT(outcome.detail, HasSubstr("no program is started"));
  EXPECT_EQ(Executions(0), 1U);
}

TEST_F(SlotTest, NothingIsInFlightWhenStageOneCannotBeSubmitted) {
  StopStage(0);
  const auto slot = MakeSlot();
  const auto refused = slot->Submit(Completion::kPolled);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kInvalid);
  EXPECT_FALSE(slot->in_flight());
  EXPECT_TRUE(slot->Wait(Soon()));
}

TEST_F(SlotTest, AHungStageRunsIntoTheDeadlineAndAResetEndsIt) {
  const auto slot = MakeSlot();
  Fill(*slot, 1);
  device().core(1).faults().hang = true;
  Must(slot->Submit(Completion::kPolled));
  auto ended = WaitAside(*slot);
  time_.AwaitWaiters(1);
  time_.Advance(seconds(3));
  EXPECT_FALSE(ended.get());
  EXPECT_TRUE(slot->in_flight());
  EXPECT_FALSE(slot->Done());
  channels_[1]->Reset(Nerr::kTimeout, "core hung");
  EXPECT_TRUE(slot->Wait(Soon()));
  const InferenceOutcome outcome = slot->TakeOutcome();
  EXPECT_EQ(outcome.code, Nerr::kTimeout);
  EXPECT_EQ(outcome.detail, "core hung");
}

TEST_F(SlotTest, AnInferenceThatIsLetGoEndsByItself) {
  const auto slot = MakeSlot();
  Fill(*slot, 4);
  Must(slot->Submit(Completion::kPolled));
  EXPECT_FALSE(slot->Done());  // nobody has waited, so nothing has run
  gated_[1]->after_poll.Close();
  slot->LetGo();
  gated_[1]->after_poll.AwaitArrival();  // the completion threads drive both stages
  gated_[1]->after_poll.Open();
  ASSERT_TRUE(slot->Wait(Soon()));
  EXPECT_THAT(Output(*slot), Each(Expected(4)));
}

TEST_F(SlotTest, AnInferenceThatIsLetGoBetweenItsStagesEndsByItself) {
  const auto slot = MakeSlot();
  const auto neighbour = MakeSlot();
  Fill(*slot, 4);
  Fill(*neighbour, 5);
  Must(slot->Submit(Completion::kPolled));
  Must(neighbour->Submit(Completion::kPolled));
  gated_[0]->after_poll.Close();
  auto neighbour_ends = WaitAside(*neighbour);  // drives stage 1 of both
  gated_[0]->after_poll.AwaitArrival();
  slot->LetGo();
  gated_[1]->after_poll.Close();
  gated_[0]->after_poll.Open();
  gated_[1]->after_poll.AwaitArrival();
  gated_[1]->after_poll.Open();
  EXPECT_TRUE(neighbour_ends.get());
  ASSERT_TRUE(slot->Wait(Soon()));
  EXPECT_THAT(Output(*slot), Each(Expected(4)));
}

TEST_F(SlotTest, AHostStageIsFollowedByACore) {
  HostPool pool(time_, 2);
  const auto slot = MakeHostedSlot(pool, [] { return ExecutionOutcome{}; });
  for (int i = 0; i < 100; ++i) {
    Fill(*slot, 5);
    Must(slot->Submit(i % 2 == 0 ? Completion::kPolled : Completion::kInterrupt));
    ASSERT_TRUE(slot->Wait(Soon()));
    ASSERT_EQ(slot->TakeOutcome().code, Nerr::kOk);
    ASSERT_THAT(Output(*slot), Each(15));
  }
}

// The core may be another network's by the time that the host comes to its end.
TEST_F(SlotTest, WhatWasStoppedInAHostStageNeverReachesTheCoreBehindIt) {
  HostPool pool(time_, 1);
  std::promise<void> begun;
  std::promise<void> release;
  const auto slot = MakeHostedSlot(pool, [&] {
    begun.set_value();
    release.get_future().wait();
    return ExecutionOutcome{};
  });
  Fill(*slot, 5);
  Must(slot->Submit(Completion::kPolled));
  begun.get_future().wait();
  slot->CutOff("the network failed");
  const uint64_t before = device().core(1).counters().busy_ns;
  release.set_value();
  ASSERT_TRUE(slot->Wait(Soon()));
  const InferenceOutcome outcome = slot->TakeOutcome();
  EXPECT_EQ(outcome.code, Nerr::kTimeout);
  EXPECT_EQ(outcome.detail, "the network failed");
  EXPECT_EQ(device().core(1).counters().busy_ns, before);
  EXPECT_THAT(Output(*slot), Each(0));
}

TEST_F(SlotTest, ACancelledInferenceEndsWithItsPresentStage) {
  HostPool pool(time_, 1);
  std::promise<void> begun;
  std::promise<void> release;
  const auto slot = MakeHostedSlot(pool, [&] {
    begun.set_value();
    release.get_future().wait();
    return ExecutionOutcome{};
  });
  Must(slot->Submit(Completion::kPolled));
  begun.get_future().wait();
  slot->Cancel("nobody wants it");
  EXPECT_FALSE(slot->Done());
  EXPECT_FALSE(slot->cut_off());
  release.set_value();
  ASSERT_TRUE(slot->Wait(Soon()));
  const InferenceOutcome outcome = slot->TakeOutcome();
  EXPECT_EQ(outcome.code, Nerr::kInferCancelled);
  EXPECT_EQ(outcome.detail, "nobody wants it");
  EXPECT_EQ(Executions(1), 0U);
}

TEST_F(SlotTest, ACancelledInferenceThatHasNotBegunEndsAtOnceAndTheSlotWorksAgain) {
  const auto slots = MakeSlots(4);
  device().core(0).faults().hang = true;
  for (const auto& slot : slots) Must(slot->Submit(Completion::kInterrupt));
  slots[2]->Cancel("nobody wants it");
  ASSERT_TRUE(slots[2]->Done());
  EXPECT_EQ(slots[2]->TakeOutcome().code, Nerr::kInferCancelled);
  for (const int i : {0, 1, 3}) EXPECT_FALSE(slots[i]->Done());
  channels_[0]->Reset(Nerr::kTimeout, "test over");
  Fill(*slots[2], 3);
  Must(slots[2]->Submit(Completion::kPolled));
  ASSERT_TRUE(slots[2]->Wait(Soon()));
  EXPECT_EQ(Output(*slots[2])[0], Expected(3));
}

TEST_F(SlotTest, ACancelledHostStageThatNoThreadHasYetEndsAtOnce) {
  HostPool pool(time_, 1);
  std::promise<void> begun;
  std::promise<void> release;
  const auto busy = MakeHostedSlot(pool, [&] {
    begun.set_value();
    release.get_future().wait();
    return ExecutionOutcome{};
  });
  std::atomic<int> runs{0};
  const auto queued = MakeHostedSlot(pool, [&] {
    ++runs;
    return ExecutionOutcome{};
  });
  Must(busy->Submit(Completion::kPolled));
  begun.get_future().wait();
  Must(queued->Submit(Completion::kPolled));
  queued->Cancel("nobody wants it");
  EXPECT_TRUE(queued->Done());
  EXPECT_EQ(queued->TakeOutcome().code, Nerr::kInferCancelled);
  release.set_value();
  EXPECT_TRUE(busy->Wait(Soon()));
  EXPECT_EQ(runs, 0);
}

TEST_F(SlotTest, ManySlotsAndThreadsGetTheirOwnResults) {
  constexpr int kThreads = 4;
  const auto slots = MakeSlots(kThreads);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const auto value = static_cast<float>(t * 1000 + i);
        Fill(*slots[t], value);
        Must(slots[t]->Submit((i + t) % 3 == 0 ? Completion::kInterrupt : Completion::kPolled));
        if (!slots[t]->Wait(Soon()) || slots[t]->TakeOutcome().code != Nerr::kOk ||
            Output(*slots[t])[3] != Expected(value))
          ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(Executions(0), 800U);
  EXPECT_EQ(Executions(1), 800U);
}

}  // namespace
}  // namespace nrtd::scheduler
