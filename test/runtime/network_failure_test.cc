// SPDX-License-Identifier: Apache-2.0
//
// Cores that hang and notifications that are lost: what the network says, and that its neighbours
// do not notice.
#include "test/runtime/runtime_fixture.h"

namespace nrtd::runtime {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

class NetworkFailureTest : public NetworkFixture {
 protected:
  Inference Submitted(Network& network, float value, Completion completion) {
    Inference inference = Must(network.Begin());
    Fill(inference, value);
    Must(inference.Submit(completion));
    return inference;
  }
  // Hangs a core of a running network and lets an inference run into its time-out.
  Answer HangOnce(Network& network, uint32_t core) {
    FaultsOf(core).hang = true;
    auto answer = std::async(std::launch::async, [&] { return Infer(network, 1); });
    time_.AwaitWaiters(1);
    EXPECT_EQ(network.state(), NetworkState::kRunning);
    time_.Advance(seconds(10));
    return answer.get();
  }
  // The daemon has cut off what was late, by itself.
  static void AwaitRestart(Network& network) {
    while (network.restarts() == 0 || network.state() != NetworkState::kRunning)
      std::this_thread::yield();
  }
  // The restart does not help.
  void FailNetwork(Network& network, uint32_t core) {
    EXPECT_EQ(HangOnce(network, core).code, Nerr::kTimeout);
    EXPECT_EQ(network.state(), NetworkState::kRunning);
    EXPECT_EQ(HangOnce(network, core).code, Nerr::kTimeout);
    EXPECT_EQ(network.state(), NetworkState::kFailed);
  }
};

TEST_F(NetworkFailureTest, AHungCoreTimesOutAndTheNetworkRestarts) {
  const auto network = Load(DoublingSpec(2), Group(2));
  Must(network->Start());
  for (uint32_t round = 0; round < 3; ++round) {
    const Answer timed_out = HangOnce(*network, round % 2);
    EXPECT_EQ(static_cast<int>(timed_out.code), 5);
    EXPECT_EQ(timed_out.text, "an inference took longer than its timeout of 2 s");
    EXPECT_EQ(network->state(), NetworkState::kRunning);
    // An inference that ends clears it of the suspicion.
    EXPECT_EQ(Infer(*network, 3).value, Doubled(3, 2));
  }
  EXPECT_EQ(network->inferences_failed(), 3U);
  EXPECT_EQ(network->failure(), "");
  EXPECT_EQ(network->slots_in_use(), 0U);
  Must(network->Stop());
  Must(network->Start());
  EXPECT_EQ(Infer(*network, 4).value, Doubled(4, 2));
}

// However little room its rings have: nothing of what was cut off is left in them.
TEST_F(NetworkFailureTest, ARestartLeavesNothingInTheRings) {
  for (const uint32_t ninfer : {1U, 2U, 3U}) {
    const auto network = Load(DoublingSpec(1), Group(1), ninfer);
    const uint32_t core = network->stages()[0]->options().core;
    Must(network->Start());
    for (int round = 0; round < 3; ++round) {
      FaultsOf(core).hang = true;
      std::vector<Inference> stuck;
      for (uint32_t i = 0; i < ninfer; ++i)
        stuck.push_back(Submitted(*network, 1, Completion::kInterrupt));
      time_.Advance(seconds(60));
      for (Inference& inference : stuck) EXPECT_EQ(inference.Wait().code, Nerr::kTimeout);
      stuck.clear();
      for (uint32_t i = 0; i < ninfer; ++i)
        stuck.push_back(Submitted(*network, 2, Completion::kPolled));
      for (Inference& inference : stuck) EXPECT_EQ(inference.Wait().code, Nerr::kOk);
    }
  }
}

TEST_F(NetworkFailureTest, AnInferenceThatEndedBeforeTheHangClearsNobody) {
  const auto network = Load(DoublingSpec(1), Group(1), 2);
  Must(network->Start());
  Inference early = Submitted(*network, 1, Completion::kInterrupt);
  while (!early.Done()) std::this_thread::yield();
  EXPECT_EQ(HangOnce(*network, 0).code, Nerr::kTimeout);
  EXPECT_EQ(early.Wait().code, Nerr::kOk);
  EXPECT_EQ(HangOnce(*network, 0).code, Nerr::kTimeout);
  EXPECT_EQ(network->state(), NetworkState::kFailed);
}

TEST_F(NetworkFailureTest, ANetworkThatHangsAgainAtOnceIsFailed) {
  const auto network = Load(DoublingSpec(1), Group(1));
  Must(network->Start());
  FailNetwork(*network, 0);
  EXPECT_EQ(network->failure(), "an inference took longer than its timeout of 2 s");
  EXPECT_EQ(network->inferences_failed(), 2U);

  const Answer next = Infer(*network, 1);
  EXPECT_EQ(static_cast<int>(next.code), 8);
  EXPECT_THAT(next.text, HasSubstr("unload it and load it again"));
  EXPECT_EQ(network->Start().error().code, Nerr::kFailedState);
  EXPECT_EQ(network->Stop().error().code, Nerr::kFailedState);
}

TEST_F(NetworkFailureTest, TheSecondStageOfAPipelineMayHangToo) {
  const auto network = Load(DoublingSpec(2), Group(2));
  Must(network->Start());
  FailNetwork(*network, 1);
}

TEST_F(NetworkFailureTest, EveryInferenceInFlightEndsWithTheTimeout) {
  const auto network = Load(DoublingSpec(2), Group(2), 4);
  Must(network->Start());
  FaultsOf(1).hang = true;
  std::vector<std::future<Answer>> answers;
  for (int i = 0; i < 4; ++i)
    answers.push_back(std::async(std::launch::async, [&] { return Infer(*network, 1); }));
  time_.AwaitWaiters(4);
  time_.Advance(seconds(20));
  for (auto& answer : answers) EXPECT_EQ(answer.get().code, Nerr::kTimeout);
  EXPECT_EQ(network->inferences_failed(), 4U);
  EXPECT_EQ(network->slots_in_use(), 0U);
}

TEST_F(NetworkFailureTest, TheDeadlineGrowsWithTheInferencesAhead) {
  const auto network = Load(DoublingSpec(1), Group(1), 2);
  Must(network->Start());
  FaultsOf(0).hang = true;
  Inference first = Submitted(*network, 1, Completion::kInterrupt);
  Inference second = Submitted(*network, 2, Completion::kInterrupt);
  time_.Advance(seconds(2) - std::chrono::nanoseconds(1));
  EXPECT_FALSE(first.Done());
  EXPECT_EQ(network->state(), NetworkState::kRunning);
  time_.Advance(std::chrono::nanoseconds(1));
  EXPECT_EQ(first.Wait().code, Nerr::kTimeout);
  EXPECT_EQ(second.Wait().code, Nerr::kTimeout);  // the reset ends it as well
  // One slot is taken still, so that this one has 4 s again.
  FaultsOf(0).hang = true;
  { const Inference gone = std::move(first); }
  Inference last = Submitted(*network, 3, Completion::kInterrupt);
  time_.Advance(seconds(3));
  EXPECT_FALSE(last.Done());
  time_.Advance(seconds(1));
  EXPECT_EQ(last.Wait().code, Nerr::kTimeout);
}

// Without a thread that waits the core stayed hung for ever, and its slots taken.
TEST_F(NetworkFailureTest, APostedInferenceThatNobodyWaitsForEndsAtItsDeadline) {
  const auto network = Load(DoublingSpec(1), Group(1), 1);
  Must(network->Start());
  FaultsOf(0).hang = true;
  auto posted = std::make_unique<Inference>(Submitted(*network, 1, Completion::kInterrupt));
  time_.Advance(seconds(2));
  // Only a reset makes the core, and then the network, go on.
  AwaitRestart(*network);
  const auto outcome = posted->Wait();
  EXPECT_EQ(outcome.code, Nerr::kTimeout);
  EXPECT_THAT(outcome.detail, HasSubstr("longer than its timeout of 2 s"));
  posted.reset();
  EXPECT_EQ(Infer(*network, 3).value, Doubled(3, 1));
}

TEST_F(NetworkFailureTest, ASecondLateInferenceThatNobodyWaitsForFailsTheNetwork) {
  const auto network = Load(DoublingSpec(1), Group(1), 2);
  Must(network->Start());
  std::vector<Inference> posted;
  for (int round = 0; round < 2; ++round) {
    FaultsOf(0).hang = true;
    posted.push_back(Submitted(*network, 1, Completion::kInterrupt));
    time_.Advance(seconds(4));
    if (round == 0) AwaitRestart(*network);
  }
  while (network->state() != NetworkState::kFailed) std::this_thread::yield();
  for (Inference& inference : posted) EXPECT_EQ(inference.Wait().code, Nerr::kTimeout);
}

TEST_F(NetworkFailureTest, AnInferenceThatIsStillInTimeIsNotEndedByATimerThatWasSetForAnother) {
  const auto network = Load(DoublingSpec(1), Group(1), 1);
  Must(network->Start());
  EXPECT_EQ(Infer(*network, 1).value, Doubled(1, 1));  // sets the timer for 2 s from now
  time_.Advance(seconds(1));
  FaultsOf(0).hang = true;
  Inference posted = Submitted(*network, 1, Completion::kInterrupt);
  time_.Advance(seconds(1));
  EXPECT_FALSE(posted.Done());
  EXPECT_EQ(network->restarts(), 0U);
  time_.Advance(seconds(1));
  AwaitRestart(*network);
  EXPECT_EQ(posted.Wait().code, Nerr::kTimeout);
}

TEST_F(NetworkFailureTest, APostedInferenceOnAHungCoreIsDoneAtItsDeadline) {
  const auto network = Load(DoublingSpec(1), Group(1));
  Must(network->Start());
  FaultsOf(0).hang = true;
  Inference posted = Submitted(*network, 1, Completion::kInterrupt);
  EXPECT_FALSE(posted.Done());
  time_.Advance(seconds(3));
  ASSERT_TRUE(posted.Done());
  EXPECT_EQ(posted.Wait().code, Nerr::kTimeout);
  EXPECT_EQ(Infer(*network, 2).value, Doubled(2, 1));
}

TEST_F(NetworkFailureTest, AnInferenceThatEndedInTimeIsGoodHoweverLateItIsCollected) {
  const auto network = Load(DoublingSpec(2), Group(2));
  Must(network->Start());
  Inference posted = Submitted(*network, 1, Completion::kInterrupt);
  Inference behind = Submitted(*network, 2, Completion::kPolled);
  EXPECT_EQ(behind.Wait().code, Nerr::kOk);
  time_.Advance(seconds(3'600));
  EXPECT_EQ(posted.Wait().code, Nerr::kOk);
  EXPECT_EQ(network->state(), NetworkState::kRunning);
}

TEST_F(NetworkFailureTest, NetworksOnOtherCoresDoNotNotice) {
  const auto failing = Load(DoublingSpec(1), Group(1));
  const auto healthy = Load(DoublingSpec(2), Group(2));
  Must(failing->Start());
  Must(healthy->Start());
  FaultsOf(0).hang = true;
  auto answer = std::async(std::launch::async, [&] { return Infer(*failing, 1); });
  time_.AwaitWaiters(1);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Infer(*healthy, 4).value, Doubled(4, 2));
  time_.Advance(seconds(3));
  EXPECT_EQ(answer.get().code, Nerr::kTimeout);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Infer(*healthy, 5).value, Doubled(5, 2));
  EXPECT_EQ(healthy->state(), NetworkState::kRunning);
}

TEST_F(NetworkFailureTest, TheCoresOfAFailedNetworkServeTheNextOne) {
  const GroupId group = Group(2);
  auto failed = Load(DoublingSpec(2), group);
  Must(failed->Start());
  FailNetwork(*failed, 1);
  // Already while the failed one is still loaded.
  const auto next = Load(DoublingSpec(2), group);
  Must(next->Start());
  EXPECT_EQ(Infer(*next, 3).value, Doubled(3, 2));
  Must(failed->Retire());
  failed.reset();
  EXPECT_EQ(Infer(*next, 4).value, Doubled(4, 2));
}

TEST_F(NetworkFailureTest, ALostNotificationEndsInTheTimeout) {
  const auto network = Load(DoublingSpec(1), Group(1));
  Must(network->Start());
  FaultsOf(0).lose_notifications = 1;
  auto answer = std::async(std::launch::async, [&] { return Infer(*network, 1); });
  time_.AwaitWaiters(1);
  time_.Advance(seconds(3));
  EXPECT_EQ(answer.get().code, Nerr::kTimeout);
}

TEST_F(NetworkFailureTest, ALostNotificationFailsOnlyItsInferenceWhenOthersFollow) {
  const auto network = Load(DoublingSpec(1), Group(1), 3);
  Must(network->Start());
  FaultsOf(0).lose_notifications = 1;
  Inference lost = Submitted(*network, 1, Completion::kInterrupt);
  Inference next = Submitted(*network, 2, Completion::kInterrupt);
  EXPECT_EQ(next.Wait().code, Nerr::kOk);
  EXPECT_EQ(lost.Wait().code, Nerr::kHwError);
  EXPECT_EQ(network->state(), NetworkState::kRunning);
  EXPECT_EQ(Infer(*network, 3).value, Doubled(3, 1));
}

TEST_F(NetworkFailureTest, AStopThatWaitsInVainFailsTheNetwork) {
  const GroupId group = Group(1);
  const auto network = Load(DoublingSpec(1), group);
  Must(network->Start());
  FaultsOf(0).hang = true;
  Inference stuck = Submitted(*network, 1, Completion::kInterrupt);
  auto stopped = std::async(std::launch::async, [&] { return network->Stop(); });
  time_.AwaitWaiters(1);
  EXPECT_EQ(network->state(), NetworkState::kStopping);
  time_.Advance(seconds(60));
  const auto result = stopped.get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Nerr::kTimeout);
  EXPECT_EQ(network->state(), NetworkState::kFailed);
  EXPECT_EQ(groups_.Find(group)->running, 0U);
  EXPECT_EQ(stuck.Wait().code, Nerr::kTimeout);
}

TEST_F(NetworkFailureTest, AnInferenceThatTimesOutDuringAStopDoesNotDisturbTheNextNetwork) {
  const GroupId group = Group(1);
  const auto network = Load(DoublingSpec(1), group);
  const auto next = Load(DoublingSpec(1), group);
  Must(network->Start());
  FaultsOf(0).hang = true;
  auto answer = std::async(std::launch::async, [&] { return Infer(*network, 1); });
  time_.AwaitWaiters(1);
  auto stopped = std::async(std::launch::async, [&] { return network->Stop(); });
  time_.AwaitWaiters(2);
  time_.Advance(seconds(3));  // the inference's deadline, not the stop's
  EXPECT_EQ(answer.get().code, Nerr::kTimeout);
  // The group is free again, though the stop may not have returned.
  Must(next->Start());
  EXPECT_EQ(stopped.get().error().code, Nerr::kTimeout);
  EXPECT_EQ(network->state(), NetworkState::kFailed);
  EXPECT_EQ(next->state(), NetworkState::kRunning);
  EXPECT_EQ(Infer(*next, 6).value, Doubled(6, 1));
}

TEST_F(NetworkFailureTest, RetireWaitsForAStopThatIsUnderWay) {
  const auto network = Load(DoublingSpec(1), Group(1));
  Must(network->Start());
  FaultsOf(0).hang = true;
  Inference stuck = Submitted(*network, 1, Completion::kInterrupt);
  auto stopped = std::async(std::launch::async, [&] { return network->Stop(); });
  time_.AwaitWaiters(1);
  auto retired = std::async(std::launch::async, [&] { return network->Retire(); });
  // A refusal would come at once.
  EXPECT_EQ(retired.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  time_.Advance(seconds(60));
  EXPECT_FALSE(stopped.get());
  EXPECT_TRUE(retired.get());
  EXPECT_EQ(network->state(), NetworkState::kUnloading);
}

TEST_F(NetworkFailureTest, RetireEndsAHungNetwork) {
  const GroupId group = Group(1);
  const auto network = Load(DoublingSpec(1), group);
  Must(network->Start());
  FaultsOf(0).hang = true;
  Inference stuck = Submitted(*network, 1, Completion::kPolled);
  auto retired = std::async(std::launch::async, [&] { return network->Retire(); });
  time_.AwaitWaiters(1);
  time_.Advance(seconds(60));
  EXPECT_TRUE(retired.get());
  EXPECT_EQ(network->state(), NetworkState::kUnloading);
  EXPECT_EQ(stuck.Wait().code, Nerr::kTimeout);
  EXPECT_EQ(network->state(), NetworkState::kUnloading);  // a late timeout brings nothing back
}

TEST_F(NetworkFailureTest, RetireAtOnceDoesNotWaitForWhatNobodyWants) {
  const GroupId group = Group(1);
  const auto network = Load(DoublingSpec(1), group);
  Must(network->Start());
  FaultsOf(0).hang = true;
  Inference stuck = Submitted(*network, 1, Completion::kInterrupt);
  auto retired =
      std::async(std::launch::async, [&] { return network->Retire(Network::Urgency::kAtOnce); });
  time_.AwaitWaiters(1);
  time_.Advance(kAbandonedGrace);
  EXPECT_TRUE(retired.get());
  EXPECT_EQ(stuck.Wait().code, Nerr::kTimeout);
  EXPECT_EQ(groups_.Find(group)->running, 0U);
}

TEST_F(NetworkFailureTest, ASharedCoreThatHangsRestartsWithAllItsPrograms) {
  const auto network = Load(ChainContents({1, 2, 1}), Group(2), 3);
  Must(network->Start());
  EXPECT_EQ(Infer(*network, 1).value, Doubled(1, 4));
  for (uint32_t core = 0; core < 2; ++core) {
    EXPECT_EQ(HangOnce(*network, core).code, Nerr::kTimeout);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(Infer(*network, 2).value, Doubled(2, 4));
  }
}

}  // namespace
}  // namespace nrtd::runtime
