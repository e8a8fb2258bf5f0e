// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/core_channel.h"

#include <atomic>

#include <gmock/gmock.h>

#include "test/driver_shim/sim_fixture.h"

namespace nrtd::sim {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

class CoreChannelTest : public SimFixture {
 protected:
  CoreChannelTest()
      : program_(device(), *pool_, 4), channel_(Must(CoreChannel::Create(core(), *pool_, time_))) {}

  void Start() {
    const uint32_t capacities[] = {16, 16};
    Must(channel_->Start(program_.rings(), capacities));
  }
  TimePoint Soon() { return time_.Now() + seconds(2); }

  ManualClock time_;
  FunctionProgram program_;
  std::unique_ptr<CoreChannel> channel_;
};

TEST_F(CoreChannelTest, APolledExecutionRunsOnTheThreadThatWaits) {
  Start();
  Execution execution;
  program_.in()[1] = 3;
  Must(channel_->Submit(execution, program_.rings(), program_.work(), Completion::kPolled));
  EXPECT_FALSE(channel_->Done(execution));  // nobody has waited, so nothing has run
  EXPECT_TRUE(channel_->Wait(execution, Soon()));
  EXPECT_EQ(execution.outcome().code, Nerr::kOk);
  EXPECT_GT(execution.outcome().device_ns, 0U);
  EXPECT_EQ(program_.out()[1], 3.0F);
}

// Counts ends and lets the test wait for them.
class CountingListener final : public ExecutionListener {
 public:
  void OnExecutionDone(Execution& execution) override {
    MutexLock lock(mutex_);
    order_.push_back(&execution);
    changed_.NotifyAll();
  }
  std::vector<Execution*> Await(size_t count) {
    MutexLock lock(mutex_);
    while (order_.size() < count) changed_.Wait(mutex_);
    return order_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::vector<Execution*> order_ NRTD_GUARDED_BY(mutex_);
};

TEST_F(CoreChannelTest, AnInterruptExecutionGoesOnWhenNobodyWaits) {
  Start();
  CountingListener listener;
  Execution execution(&listener);
  Must(channel_->Submit(execution, program_.rings(), program_.work(), Completion::kInterrupt));
  EXPECT_EQ(listener.Await(1).front(), &execution);
  EXPECT_TRUE(channel_->Wait(execution, Soon()));
}

TEST_F(CoreChannelTest, ExecutionsEndInTheOrderOfTheirSubmission) {
  Start();
  CountingListener listener;
  Execution first(&listener);
  Execution second(&listener);
  Execution third(&listener);
  Must(channel_->Submit(first, program_.rings(), program_.work(), Completion::kPolled));
  Must(channel_->Submit(second, program_.rings(), program_.work(), Completion::kInterrupt));
  Must(channel_->Submit(third, program_.rings(), program_.work(), Completion::kPolled));
  EXPECT_TRUE(channel_->Wait(third, Soon()));
  EXPECT_EQ(listener.Await(3), (std::vector<Execution*>{&first, &second, &third}));
}

TEST_F(CoreChannelTest, ManyThreadsAndBothModesLoseNothing) {
  Start();
  constexpr int kThreads = 4;
  constexpr int kEach = 300;
  std::atomic<int> ok{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Execution execution;
      for (int i = 0; i < kEach; ++i) {
        Must(channel_->Submit(execution, program_.rings(), program_.work(),
                              (i + t) % 2 == 0 ? Completion::kPolled : Completion::kInterrupt));
        if (channel_->Wait(execution, Soon()) && execution.outcome().code == Nerr::kOk) ++ok;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ok, kThreads * kEach);
  EXPECT_EQ(core().counters().executions, static_cast<uint64_t>(kThreads * kEach));
}

TEST_F(CoreChannelTest, AHungCoreRunsIntoTheDeadlineAndResetEndsEverything) {
  Start();
  core().faults().hang = true;
  Execution first;
  Execution second;
  Must(channel_->Submit(first, program_.rings(), program_.work(), Completion::kPolled));
  Must(channel_->Submit(second, program_.rings(), program_.work(), Completion::kInterrupt));
  std::thread waiter([&] { EXPECT_FALSE(channel_->Wait(first, Soon())); });
  time_.AwaitWaiters(1);
  time_.Advance(seconds(3));
  waiter.join();
  channel_->Reset(Nerr::kTimeout, "core hung");
  EXPECT_TRUE(channel_->Wait(first, Soon()));
  EXPECT_EQ(first.outcome().code, Nerr::kTimeout);
  EXPECT_EQ(second.outcome().code, Nerr::kTimeout);
  EXPECT_EQ(second.outcome().detail, "core hung");

  // The program is started still.
  Must(channel_->Submit(first, program_.rings(), program_.work(), Completion::kPolled));
  EXPECT_TRUE(channel_->Wait(first, Soon()));
  EXPECT_EQ(first.outcome().code, Nerr::kOk);
}

TEST_F(CoreChannelTest, ALostNotificationFailsThatExecutionWhenTheNextOneEnds) {
  Start();
  core().faults().lose_notifications = 1;
  Execution lost;
  Execution next;
  Must(channel_->Submit(lost, program_.rings(), program_.work(), Completion::kPolled));
  Must(channel_->Submit(next, program_.rings(), program_.work(), Completion::kPolled));
  EXPECT_TRUE(channel_->Wait(next, Soon()));
  EXPECT_EQ(next.outcome().code, Nerr::kOk);
  EXPECT_TRUE(channel_->Done(lost));
  EXPECT_EQ(lost.outcome().code, Nerr::kHwError);
  EXPECT_THAT(lost.outcome().detail, HasSubstr("lost the notification"));
}

TEST_F(CoreChannelTest, NumericalErrorsCompleteWithTheDocumentedWords) {
  FunctionProgram program(device(), *pool_, 4, Function::kAbs);
  const uint32_t capacities[] = {16, 16};
  Must(channel_->Start(program.rings(), capacities));
  program.in()[0] = std::numeric_limits<float>::quiet_NaN();
  Execution execution;
  Must(channel_->Submit(execution, program.rings(), program.work(), Completion::kPolled));
  EXPECT_TRUE(channel_->Wait(execution, Soon()));
  EXPECT_EQ(execution.outcome().code, Nerr::kInferCompletedWithNumErr);
  EXPECT_THAT(execution.outcome().detail, HasSubstr("Error notifications found on NC 0:0"));
  EXPECT_THAT(execution.outcome().detail, HasSubstr("INFER_ERROR_SUBTYPE_NUMERICAL"));
}

TEST_F(CoreChannelTest, AFailedTransferCompletesWithErrorAndTheNextIsWell) {
  Start();
  const Descriptor good = program_.descriptor(0);
  program_.descriptor(0).length = 1U << 30;
  Execution execution;
  Must(channel_->Submit(execution, program_.rings(), program_.work(), Completion::kPolled));
  EXPECT_TRUE(channel_->Wait(execution, Soon()));
  EXPECT_EQ(execution.outcome().code, Nerr::kInferCompletedWithErr);
  program_.descriptor(0) = good;
  Must(channel_->Submit(execution, program_.rings(), program_.work(), Completion::kPolled));
  EXPECT_TRUE(channel_->Wait(execution, Soon()));
  EXPECT_EQ(execution.outcome().code, Nerr::kOk);
}

TEST_F(CoreChannelTest, AnExecutionThatTheCoreDoesNotHaveYetCanBeTakenBack) {
  Start();
  CountingListener listener;
  core().faults().hang = true;
  std::vector<std::unique_ptr<Execution>> executions;
  for (int i = 0; i < 5; ++i) {
    executions.push_back(std::make_unique<Execution>(&listener));
    Must(channel_->Submit(*executions[i], program_.rings(), program_.work(),
                          Completion::kInterrupt));
  }
  EXPECT_FALSE(channel_->Cancel(*executions[0], "too late"));
  EXPECT_TRUE(channel_->Cancel(*executions[4], "not wanted"));  // the last
  EXPECT_TRUE(channel_->Cancel(*executions[2], "not wanted"));  // one in between
  EXPECT_FALSE(channel_->Cancel(*executions[2], "again"));
  EXPECT_EQ(listener.Await(2), (std::vector<Execution*>{executions[4].get(), executions[2].get()}));
  EXPECT_TRUE(channel_->Done(*executions[2]));
  EXPECT_EQ(executions[2]->outcome().code, Nerr::kInferCancelled);
  EXPECT_EQ(executions[2]->outcome().detail, "not wanted");
  EXPECT_FALSE(channel_->Done(*executions[3]));

  // The others run, and the one that was last is not missed.
  core().faults().hang = false;
  Must(channel_->Submit(*executions[4], program_.rings(), program_.work(), Completion::kPolled));
  EXPECT_TRUE(channel_->Wait(*executions[4], Soon()));
  for (const int i : {0, 1, 3, 4}) EXPECT_EQ(executions[i]->outcome().code, Nerr::kOk) << i;
  EXPECT_EQ(core().counters().executions, 4U);
}

TEST_F(CoreChannelTest, NotificationsThatAreLostDoNotKeepTheNextOnesFromTheCore) {
  Start();
  core().faults().lose_notifications = 2;
  Execution executions[3];
  for (Execution& execution : executions)
    Must(channel_->Submit(execution, program_.rings(), program_.work(), Completion::kPolled));
  EXPECT_TRUE(channel_->Wait(executions[2], Soon()));
  EXPECT_EQ(executions[0].outcome().code, Nerr::kHwError);
  EXPECT_EQ(executions[1].outcome().code, Nerr::kHwError);
  EXPECT_EQ(executions[2].outcome().code, Nerr::kOk);
}

TEST_F(CoreChannelTest, RingsOfTheProgramBoundWhatIsInFlight) {
  const uint32_t capacities[] = {2, 2};
  Must(channel_->Start(program_.rings(), capacities));
  core().faults().hang = true;
  Execution one;
  Execution two;
  Execution three;
  Must(channel_->Submit(one, program_.rings(), program_.work(), Completion::kPolled));
  Must(channel_->Submit(two, program_.rings(), program_.work(), Completion::kPolled));
  const auto full = channel_->Submit(three, program_.rings(), program_.work(), Completion::kPolled);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, Nerr::kResource);
  channel_->Reset(Nerr::kInferCancelled, "test over");
}

TEST_F(CoreChannelTest, ProgramsTakeTurnsInTheOrderOfTheirExecutions) {
  FunctionProgram other(device(), *pool_, 4, Function::kAbs);
  Start();
  const uint32_t capacities[] = {4, 4};  // three of its executions at once
  Must(channel_->Start(other.rings(), capacities));
  CountingListener listener;
  std::vector<std::unique_ptr<Execution>> executions;
  for (int round = 0; round < 20; ++round) {
    std::vector<Execution*> order;
    program_.in()[0] = other.in()[0] = -1.0F - static_cast<float>(round);
    for (FunctionProgram* program : {&program_, &other, &other, &program_, &other}) {
      executions.push_back(std::make_unique<Execution>(&listener));
      order.push_back(executions.back().get());
      Must(channel_->Submit(*order.back(), program->rings(), program->work(),
                            round % 2 == 0 ? Completion::kPolled : Completion::kInterrupt));
    }
    EXPECT_TRUE(channel_->Wait(*order.back(), Soon()));
    for (const Execution* execution : order) EXPECT_EQ(execution->outcome().code, Nerr::kOk);
    const auto ended = listener.Await(executions.size());
    EXPECT_TRUE(std::equal(order.begin(), order.end(), ended.end() - 5));
    EXPECT_EQ(program_.out()[0], 0.0F);
    EXPECT_EQ(other.out()[0], 1.0F + static_cast<float>(round));
  }
  channel_->Stop(other.rings());
  EXPECT_FALSE(channel_->Submit(*executions[0], other.rings(), other.work(), Completion::kPolled));
  Must(channel_->Submit(*executions[0], program_.rings(), program_.work(), Completion::kPolled));
  EXPECT_TRUE(channel_->Wait(*executions[0], Soon()));
}

TEST_F(CoreChannelTest, AListenerMaySubmitAnotherProgramOfTheSameCore) {
  FunctionProgram other(device(), *pool_, 4, Function::kAbs);
  Start();
  const uint32_t capacities[] = {16, 16};
  Must(channel_->Start(other.rings(), capacities));
  Execution second;
  struct Next final : ExecutionListener {
    std::function<void()> submit;
    void OnExecutionDone(Execution&) override { submit(); }
  } next;
  next.submit = [&] {
    Must(channel_->Submit(second, other.rings(), other.work(), Completion::kPolled));
  };
  Execution first(&next);
  other.in()[2] = -7;
  Must(channel_->Submit(first, program_.rings(), program_.work(), Completion::kPolled));
  EXPECT_TRUE(channel_->Wait(first, Soon()));
  EXPECT_TRUE(channel_->Wait(second, Soon()));
  EXPECT_EQ(other.out()[2], 7.0F);
}

TEST_F(CoreChannelTest, AnExecutionOfAProgramThatIsGoneEndsWithTheReason) {
  FunctionProgram other(device(), *pool_, 4, Function::kAbs);
  Start();
  const uint32_t capacities[] = {16, 16};
  Must(channel_->Start(other.rings(), capacities));
  core().UnloadProgram(other.id());
  Execution lost;
  Execution next;
  Must(channel_->Submit(lost, other.rings(), other.work(), Completion::kPolled));
  Must(channel_->Submit(next, program_.rings(), program_.work(), Completion::kPolled));
  EXPECT_TRUE(channel_->Wait(next, Soon()));
  EXPECT_EQ(next.outcome().code, Nerr::kOk);
  EXPECT_TRUE(channel_->Done(lost));
  EXPECT_EQ(lost.outcome().code, Nerr::kInvalid);
  EXPECT_THAT(lost.outcome().detail, HasSubstr("is not loaded"));
}

TEST_F(CoreChannelTest, ADeadlineThatPassesDuringAnExecutionIsNoticedBetweenInstructions) {
  Start();
  Execution execution;
  Must(channel_->Submit(execution, program_.rings(), program_.work(), Completion::kPolled));
  EXPECT_FALSE(channel_->Wait(execution, time_.Now()));
  EXPECT_GT(core().counters().engine[1].tensor_instructions, 0U);
  EXPECT_TRUE(channel_->Wait(execution, Soon()));
  EXPECT_EQ(execution.outcome().code, Nerr::kOk);
}

TEST_F(CoreChannelTest, NothingRunsWithoutAProgramAndNoneIsStartedTwice) {
  Execution execution;
  EXPECT_FALSE(channel_->Submit(execution, program_.rings(), program_.work(), Completion::kPolled));
  Start();
  const uint32_t capacities[] = {16, 16};
  EXPECT_FALSE(channel_->Start(program_.rings(), capacities));
  channel_->Stop(program_.rings());
  Start();
}

TEST_F(CoreChannelTest, StartingAndStoppingLeavesThePoolAsItWas) {
  const uint64_t used = pool_->Stats().used_bytes;
  for (int i = 0; i < 100; ++i) {
    Start();
    channel_->Stop(program_.rings());
  }
  EXPECT_EQ(pool_->Stats().used_bytes, used);
}

}  // namespace
}  // namespace nrtd::sim
