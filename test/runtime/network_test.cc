// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/network.h"

#include <cmath>
#include <limits>

#include "base/before_long.h"
#include "test/runtime/runtime_fixture.h"

namespace nrtd::runtime {
namespace {

using std::chrono::seconds;
using ::testing::Each;
using ::testing::HasSubstr;

class NetworkTest : public NetworkFixture {};

TEST_F(NetworkTest, AFreshNetworkStandsByAndRefusesInferences) {
  const auto network = Load(DoublingSpec(1), Group(1));
  EXPECT_EQ(network->state(), NetworkState::kStandby);
  EXPECT_EQ(network->failure(), "");
  const auto refused = network->Begin();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kInvalid);
  EXPECT_EQ(refused.error().text, "model 10001 is STANDBY, not READY: start it first");
}

TEST_F(NetworkTest, AStartedNetworkInfersAndAStoppedOneDoesNot) {
  const auto network = Load(DoublingSpec(2), Group(2));
  for (int round = 0; round < 3; ++round) {
    Must(network->Start());
    EXPECT_EQ(network->state(), NetworkState::kRunning);
    EXPECT_EQ(Infer(*network, 5).value, Doubled(5, 2));
    Must(network->Stop());
    EXPECT_EQ(network->state(), NetworkState::kStandby);
    EXPECT_EQ(Infer(*network, 5).code, Nerr::kInvalid);
  }
  EXPECT_EQ(network->inferences_done(), 3U);
  EXPECT_EQ(network->inferences_failed(), 0U);
}

TEST_F(NetworkTest, StartingAndStoppingTwiceIsHarmless) {
  const auto network = Load(DoublingSpec(1), Group(1));
  Must(network->Stop());
  Must(network->Start());
  Must(network->Start());
  EXPECT_EQ(Infer(*network, 1).code, Nerr::kOk);
  Must(network->Stop());
  Must(network->Stop());
}

TEST_F(NetworkTest, AsManyInferencesAsSlotsAndThenTheQueueIsFull) {
  const auto network = Load(DoublingSpec(1), Group(1), 3);
  Must(network->Start());
  std::vector<Inference> inferences;
  for (int i = 0; i < 3; ++i) inferences.push_back(Must(network->Begin()));
  EXPECT_EQ(network->slots_in_use(), 3U);
  const auto refused = network->Begin();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kQueueFull);
  EXPECT_THAT(refused.error().text, HasSubstr("3 inferences in flight"));
  inferences.pop_back();
  EXPECT_TRUE(network->Begin());
}

struct NobodyWakes final : Waker {
  void Wake() override { ADD_FAILURE() << "nothing was left to another thread"; }
};

// Whoever attends is told before it drives the core for long: before the first inference, when
// nobody knows, and not before others of a network that takes a moment.
TEST_F(NetworkTest, ThreadsAreToldBeforeTheyDriveACoreForLong) {
  static int told;
  told = 0;
  before_long = [] { ++told; };
  const auto network = Load(DoublingSpec(1), Group(1));
  Must(network->Start());
  NobodyWakes waker;
  const auto infer = [&] {
    Inference inference = Must(network->Begin());
    Fill(inference, 1);
    Must(inference.Submit(Completion::kPolled));
    const auto outcome = inference.Attend(waker);
    ASSERT_TRUE(outcome);
    EXPECT_EQ(outcome->code, Nerr::kOk);
  };
  EXPECT_FALSE(network->EndsSoon());
  infer();
  EXPECT_EQ(told, 1);
  // It takes a microsecond unless this thread is held up.
  for (int i = 0; i < 1'000 && !network->EndsSoon(); ++i) infer();
  ASSERT_TRUE(network->EndsSoon());
  told = 0;
  infer();
  EXPECT_EQ(told, 0);
  before_long = nullptr;
}

TEST_F(NetworkTest, InferencesInFlightDoNotMixTheirTensors) {
  const auto network = Load(DoublingSpec(2), Group(2), 4);
  Must(network->Start());
  std::vector<Inference> inferences;
  for (int i = 0; i < 4; ++i) {
    inferences.push_back(Must(network->Begin()));
    Fill(inferences.back(), static_cast<float>(i));
    Must(inferences.back().Submit(i % 2 == 0 ? Completion::kPolled : Completion::kInterrupt));
  }
  for (int i = 3; i >= 0; --i) {
    EXPECT_EQ(inferences[i].Wait().code, Nerr::kOk);
    EXPECT_THAT(OutputOf(inferences[i]), Each(Doubled(static_cast<float>(i), 2)));
  }
}

TEST_F(NetworkTest, NaNInAnOutputIsReportedAndTheOutputIsThere) {
  PipelineSpec spec;
  spec.stages[0].function = sim::Function::kLog;
  const auto network = Load(spec, Group(1));
  Must(network->Start());
  const Answer answer = Infer(*network, -1);
  EXPECT_EQ(answer.code, Nerr::kInferCompletedWithNumErr);
  EXPECT_TRUE(std::isnan(answer.value));
  EXPECT_EQ(network->inferences_failed(), 0U);
  EXPECT_EQ(Infer(*network, 1).code, Nerr::kOk);
}

TEST_F(NetworkTest, AMovedInferenceKeepsItsSlotAndGivesItBackOnce) {
  const auto network = Load(DoublingSpec(1), Group(1));
  Must(network->Start());
  {
    Inference first = Must(network->Begin());
    Inference second = std::move(first);
    EXPECT_EQ(network->slots_in_use(), 1U);
    Inference third = Must(network->Begin());
    third = std::move(second);  // gives its own back
    EXPECT_EQ(network->slots_in_use(), 1U);
    Fill(third, 1);
    Must(third.Submit(Completion::kPolled));
    EXPECT_EQ(third.Wait().code, Nerr::kOk);
  }
  EXPECT_EQ(network->slots_in_use(), 0U);
}

TEST_F(NetworkTest, ADroppedInferenceFreesItsSlotByItself) {
  const auto network = Load(DoublingSpec(2), Group(2), 1);
  Must(network->Start());
  for (const Completion completion : {Completion::kPolled, Completion::kInterrupt}) {
    {
      Inference dropped = Must(network->Begin());
      Fill(dropped, 1);
      Must(dropped.Submit(completion));
    }
    // Nobody waits for it, and a refused Begin() does not drive it either.
    auto next = std::async(std::launch::async, [&] {
      while (true) {
        if (auto inference = network->Begin()) return std::move(*inference);
        std::this_thread::yield();
      }
    });
    ASSERT_TRUE(Ends(next));
    (void)next.get();
  }
  EXPECT_EQ(Infer(*network, 3).value, Doubled(3, 2));
}

TEST_F(NetworkTest, DoneTellsOfTheEndWithoutWaiting) {
  const auto network = Load(DoublingSpec(1), Group(1), 2);
  Must(network->Start());
  Inference first = Must(network->Begin());
  Inference second = Must(network->Begin());
  Fill(first, 1);
  Fill(second, 2);
  Must(first.Submit(Completion::kPolled));
  Must(second.Submit(Completion::kPolled));
  EXPECT_FALSE(first.Done());
  EXPECT_EQ(second.Wait().code, Nerr::kOk);
  EXPECT_TRUE(first.Done());  // it ended in front of the second
  EXPECT_EQ(first.Wait().code, Nerr::kOk);
}

TEST_F(NetworkTest, StopWaitsForWhatIsInFlight) {
  const auto network = Load(DoublingSpec(2), Group(2), 3);
  Must(network->Start());
  std::vector<Inference> inferences;
  for (int i = 0; i < 3; ++i) {
    inferences.push_back(Must(network->Begin()));
    Fill(inferences.back(), static_cast<float>(i));
    Must(inferences.back().Submit(i == 1 ? Completion::kInterrupt : Completion::kPolled));
  }
  Must(network->Stop());
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(inferences[i].Done());
    EXPECT_EQ(inferences[i].Wait().code, Nerr::kOk);
    EXPECT_EQ(OutputOf(inferences[i])[0], Doubled(static_cast<float>(i), 2));
  }
}

TEST_F(NetworkTest, AnInferenceBegunBeforeAStopCannotBeSubmittedBehindIt) {
  const auto network = Load(DoublingSpec(1), Group(1));
  Must(network->Start());
  Inference inference = Must(network->Begin());
  Must(network->Stop());
  const auto refused = inference.Submit(Completion::kPolled);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kInvalid);
  EXPECT_THAT(refused.error().text, HasSubstr("became STANDBY"));
}

TEST_F(NetworkTest, OneNetworkOfAGroupRunsAtATime) {
  const GroupId group = Group(1);
  const auto first = Load(DoublingSpec(1), group);
  const auto second = Load(DoublingSpec(1), group);
  Must(first->Start());
  const auto refused = second->Start();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kInvalid);
  EXPECT_EQ(second->state(), NetworkState::kStandby);
  EXPECT_EQ(Infer(*first, 2).value, Doubled(2, 1));
  Must(first->Stop());
  Must(second->Start());
  EXPECT_EQ(Infer(*second, 3).value, Doubled(3, 1));
}

TEST_F(NetworkTest, AStartThatFailsHalfWayLeavesTheCoresAndTheGroupFree) {
  // Rings for 1,024 inferences of 64 transfers are more than a ring can hold.
  neff::NeffContents contents = PipelineContents(DoublingSpec(2));
  auto& trigger = contents.kelfs["kelf-0.json"].subgraphs[1].engines[2].dma[1];
  trigger.desc.from = {2, 0, {1, 0}, {16, 64}};
  trigger.desc.to = {1, 0, {1, 0}, {16, 64}};
  const GroupId group = Group(2);
  const auto network = Load(contents, group, 1'024);
  const Usage before = UsageOf(*machine_);
  ASSERT_FALSE(network->Start());
  EXPECT_EQ(network->state(), NetworkState::kStandby);
  EXPECT_EQ(groups_.Find(group)->running, 0U);
  EXPECT_EQ(UsageOf(*machine_), before);
  const auto other = Load(DoublingSpec(2), group);
  Must(other->Start());
  EXPECT_EQ(Infer(*other, 1).value, Doubled(1, 2));
}

TEST_F(NetworkTest, RetireStopsTheNetworkForGood) {
  const GroupId group = Group(1);
  const auto network = Load(DoublingSpec(1), group);
  Must(network->Start());
  Must(network->Retire());
  EXPECT_EQ(network->state(), NetworkState::kUnloading);
  EXPECT_EQ(groups_.Find(group)->running, 0U);
  EXPECT_EQ(network->Start().error().code, Nerr::kInvalid);
  EXPECT_EQ(network->Stop().error().code, Nerr::kInvalid);
  EXPECT_EQ(network->Retire().error().code, Nerr::kInvalid);
  EXPECT_EQ(Infer(*network, 1).code, Nerr::kInvalid);
}

TEST_F(NetworkTest, AwaitReleasedWaitsForWhoeverReadsAnOutput) {
  const auto network = Load(DoublingSpec(1), Group(1));
  Must(network->Start());
  auto inference = std::make_unique<Inference>(Must(network->Begin()));
  Fill(*inference, 1);
  Must(inference->Submit(Completion::kPolled));
  Must(network->Retire());
  auto released = std::async(std::launch::async, [&] { network->AwaitReleased(); });
  time_.AwaitWaiters(1);
  EXPECT_EQ(OutputOf(*inference)[0], Doubled(1, 1));
  inference.reset();
  EXPECT_TRUE(Ends(released));
  EXPECT_EQ(network->slots_in_use(), 0U);
}

TEST_F(NetworkTest, AwaitReleasedGivesUpInTheEnd) {
  const auto network = Load(DoublingSpec(1), Group(1));
  Must(network->Start());
  Inference inference = Must(network->Begin());
  Must(network->Retire());
  auto released = std::async(std::launch::async, [&] { network->AwaitReleased(); });
  time_.AwaitWaiters(1);
  time_.Advance(seconds(2));
  EXPECT_TRUE(Ends(released));
  EXPECT_EQ(network->slots_in_use(), 1U);
}

TEST_F(NetworkTest, AnInferenceKeepsTheMemoryOfANetworkThatIsGone) {
  const Usage idle = UsageOf(*machine_);
  auto network = Load(DoublingSpec(1), Group(1));
  Must(network->Start());
  auto inference = std::make_unique<Inference>(Must(network->Begin()));
  Fill(*inference, 3);
  Must(inference->Submit(Completion::kPolled));
  network.reset();
  EXPECT_EQ(inference->Wait().code, Nerr::kOk);
  EXPECT_EQ(OutputOf(*inference)[0], Doubled(3, 1));
  inference.reset();
  EXPECT_EQ(UsageOf(*machine_), idle);
}

}  // namespace
}  // namespace nrtd::runtime
