// SPDX-License-Identifier: Apache-2.0
//
// What a session owns goes with it, whatever is under way at that moment.
#include <functional>
#include <stop_token>
#include <utility>

#include "test/memory/client_shm.h"
#include "test/runtime/runtime_fixture.h"

namespace nrtd::runtime {
namespace {

using std::chrono::seconds;

class SessionTest : public RuntimeFixture {
 protected:
  void ExpectNothingLeft() {
    EXPECT_TRUE(runtime_.ListNetworks().empty());
    EXPECT_TRUE(runtime_.ListGroups().empty());
    EXPECT_EQ(UsageOf(runtime_.machine()), idle_);
  }
};

TEST_F(SessionTest, ASessionThatIsNotOpenOwnsNothing) {
  const SessionId closed = runtime_.sessions().Open();
  runtime_.CloseSession(closed);
  for (const SessionId id : {closed, SessionId{99}}) {
    EXPECT_EQ(runtime_.CreateGroup(1, {id}).error().code, Nerr::kInvalidHandle);
    EXPECT_EQ(TryLoad(doubling_, 0, id).error().code, Nerr::kInvalidHandle);
  }
  ExpectNothingLeft();
}

TEST_F(SessionTest, TheEndOfASessionFreesItsNetworksAndGroups) {
  const SessionId session = runtime_.sessions().Open();
  const auto group = Must(runtime_.CreateGroup(1, {session}));
  Load(doubling_, group.id, session);
  Load(doubling_, 0, session);
  Must(runtime_.CreateGroup(1, {session}));
  runtime_.CloseSession(session);
  ExpectNothingLeft();
  runtime_.CloseSession(session);  // once more is harmless
}

TEST_F(SessionTest, OtherSessionsKeepWhatIsTheirs) {
  const SessionId dying = runtime_.sessions().Open();
  const SessionId living = runtime_.sessions().Open();
  Load(doubling_, 0, dying);
  const NetworkId theirs = Load(doubling_, 0, living);
  const NetworkId nobodys = Load(doubling_);
  const auto group = Must(runtime_.CreateGroup(1, {living}));
  runtime_.CloseSession(dying);
  EXPECT_EQ(Infer(*Must(runtime_.Find(theirs)), 1).value, Doubled(1, 1));
  EXPECT_EQ(Infer(*Must(runtime_.Find(nobodys)), 2).value, Doubled(2, 1));
  EXPECT_EQ(runtime_.ListGroups().back().id, group.id);
}

TEST_F(SessionTest, AGroupTakesTheNetworksThatNamedNoSessionAlong) {
  const SessionId session = runtime_.sessions().Open();
  const auto group = Must(runtime_.CreateGroup(1, {session}));
  Must(runtime_.Start(Load(doubling_, group.id)));
  runtime_.CloseSession(session);
  ExpectNothingLeft();
}

TEST_F(SessionTest, PostedInferencesGoWithTheSession) {
  const SessionId session = runtime_.sessions().Open();
  const NetworkId id = Load(doubling_, 0, session);
  Inference inference = Must(Must(runtime_.Find(id))->Begin());
  Fill(inference, 1);
  Must(inference.Submit(Completion::kInterrupt));
  const uint64_t cookie = runtime_.cookies().Add(std::move(inference));
  runtime_.CloseSession(session);
  EXPECT_EQ(runtime_.cookies().Take(cookie).error().code, Nerr::kInvalidHandle);
  ExpectNothingLeft();
}

TEST_F(SessionTest, SharedMemoryGoesWithItsSession) {
  const memory::ClientShm mine(4096);
  const memory::ClientShm theirs(4096);
  const SessionId session = runtime_.sessions().Open();
  const SessionId other = runtime_.sessions().Open();
  memory::SharedMemoryTable& table = runtime_.shared_memory();
  ASSERT_TRUE(table.MapPosix(mine.name(), PROT_READ | PROT_WRITE, {session}));
  ASSERT_TRUE(table.MapPosix(theirs.name(), PROT_READ | PROT_WRITE, {other}));
  runtime_.CloseSession(session);
  EXPECT_FALSE(table.Lookup(mine.name()));
  EXPECT_TRUE(table.Lookup(theirs.name()));
}

TEST_F(SessionTest, SharedMemoryMappedWhileTheSessionEndsIsGone) {
  const memory::ClientShm file(4096);
  for (int i = 0; i < 100; ++i) {
    const SessionId session = runtime_.sessions().Open();
    auto mapped = std::async(std::launch::async, [&] {
      return runtime_.MapPosix(file.name(), PROT_READ | PROT_WRITE, {session});
    });
    runtime_.CloseSession(session);
    mapped.wait();
    ASSERT_EQ(runtime_.shared_memory().size(), 0U) << "round " << i;
  }
}

TEST_F(SessionTest, AClientThatDiesDuringAStopKeepsNoCores) {
  const SessionId session = runtime_.sessions().Open();
  const NetworkId id = Load(doubling_, 0, session);
  FaultsOf(0).hang = true;
  Inference stuck = Must(Must(runtime_.Find(id))->Begin());
  Must(stuck.Submit(Completion::kInterrupt));
  auto stopped = std::async(std::launch::async, [&] { return runtime_.Stop(id); });
  time_.AwaitWaiters(1);  // the stop waits for the hung core
  auto closed = std::async(std::launch::async, [&] { runtime_.CloseSession(session); });
  // Not before the stop has come to its end.
  EXPECT_EQ(closed.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  time_.Advance(seconds(60));
  EXPECT_FALSE(stopped.get());
  EXPECT_EQ(stuck.Wait().code, Nerr::kTimeout);
  { const Inference gone = std::move(stuck); }
  closed.get();
  ExpectNothingLeft();
}

// The time is asked for while weights are written: in the middle of a load.
class InterruptedLoadTest : public ::testing::Test {
 protected:
  // Loads into `group` for `owner`, and closes `session` meanwhile.
  Result<NetworkId> LoadWhileClosing(SessionId session, GroupId group, SessionId owner) {
    PipelineSpec spec = DoublingSpec(1);
    spec.stages[0].weights = {1, 2, 3};
    LoadRequest request;
    request.neff = PipelineNeff(spec);
    request.group = group;
    request.owner.session = owner;
    return LoadInterrupted(std::move(request), [this, session] { runtime_.CloseSession(session); });
  }
  Result<NetworkId> LoadInterrupted(LoadRequest request, std::function<void()> action) {
    clock_.AtLook(2, std::move(action));  // the first is the load's start
    return runtime_.Load(std::move(request));
  }
  void ExpectRefusedAndNothingLeft(const Result<NetworkId>& loaded) {
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().code, Nerr::kInvalidHandle);
    // In the middle of it, not when all was done.
    EXPECT_THAT(loaded.error().text, ::testing::HasSubstr("given up"));
    EXPECT_TRUE(runtime_.ListNetworks().empty());
    EXPECT_TRUE(runtime_.ListGroups().empty());
    EXPECT_EQ(UsageOf(runtime_.machine()), idle_);
  }

  // Does something when it is looked at.
  class InterruptingClock final : public Clock {
   public:
    void AtLook(int count, std::function<void()> action) {
      looks_left_ = count;
      action_ = std::move(action);
    }
    TimePoint Now() override {
      if (action_ && --looks_left_ == 0) std::exchange(action_, nullptr)();
      return clock_.Now();
    }
    void WaitUntil(CondVar& condition, Mutex& mutex, TimePoint deadline) override
        NRTD_REQUIRES(mutex) {
      clock_.WaitUntil(condition, mutex, deadline);
    }

   private:
    ManualClock clock_;
    int looks_left_ = 0;
    std::function<void()> action_;
  };

  InterruptingClock clock_;
  Runtime runtime_{OpenMachine(clock_, "inf1.xlarge")};
  const Usage idle_ = UsageOf(runtime_.machine());
};

TEST_F(InterruptedLoadTest, ANetworkWhoseSessionEndsDuringItsLoadIsGone) {
  const SessionId session = runtime_.sessions().Open();
  ExpectRefusedAndNothingLeft(LoadWhileClosing(session, 0, session));
}

TEST_F(InterruptedLoadTest, TheGroupOfTheSessionThatEndedIsGoneAsWell) {
  const SessionId session = runtime_.sessions().Open();
  const auto group = Must(runtime_.CreateGroup(1, {session}));
  ExpectRefusedAndNothingLeft(LoadWhileClosing(session, group.id, session));
}

TEST_F(InterruptedLoadTest, SoIsANetworkInThatGroupThatNamedNoSession) {
  const SessionId session = runtime_.sessions().Open();
  const auto group = Must(runtime_.CreateGroup(1, {session}));
  ExpectRefusedAndNothingLeft(LoadWhileClosing(session, group.id, 0));
}

TEST_F(InterruptedLoadTest, ALoadWhoseClientGivesUpEndsEarly) {
  std::stop_source client;
  PipelineSpec spec = DoublingSpec(1);
  spec.stages[0].weights = {1, 2, 3};
  LoadRequest request;
  request.neff = PipelineNeff(spec);
  request.given_up = client.get_token();
  ExpectRefusedAndNothingLeft(LoadInterrupted(std::move(request), [&] { client.request_stop(); }));
}

TEST_F(SessionTest, ALoadThatRacesWithTheEndOfItsSessionLeavesNothing) {
  for (int i = 0; i < 40; ++i) {
    const SessionId session = runtime_.sessions().Open();
    auto loaded = std::async(std::launch::async, [&] { return TryLoad(doubling_, 0, session); });
    std::thread closer([&] { runtime_.CloseSession(session); });
    closer.join();
    loaded.wait();
    ExpectNothingLeft();
  }
}

TEST_F(SessionTest, ALoadIntoTheGroupOfASessionThatEndsLeavesNothing) {
  for (int i = 0; i < 40; ++i) {
    const SessionId session = runtime_.sessions().Open();
    const auto group = Must(runtime_.CreateGroup(2, {session}));
    // Every other client does not say whose network it is.
    const SessionId owner = i % 2 == 0 ? session : 0;
    auto loaded =
        std::async(std::launch::async, [&] { return TryLoad(doubling_, group.id, owner); });
    std::thread closer([&] { runtime_.CloseSession(session); });
    closer.join();
    loaded.wait();
    ExpectNothingLeft();
  }
}

TEST_F(SessionTest, GroupsMadeWhileTheSessionEndsAreGone) {
  for (int i = 0; i < 100; ++i) {
    const SessionId session = runtime_.sessions().Open();
    auto made = std::async(std::launch::async, [&] { return runtime_.CreateGroup(1, {session}); });
    runtime_.CloseSession(session);
    made.wait();
    ExpectNothingLeft();
  }
}

}  // namespace
}  // namespace nrtd::runtime
