// SPDX-License-Identifier: Apache-2.0
//
// A client keeps the ids of its models, groups and sessions for the life of its process, as the
// TensorFlow client does. It survives a restart of the daemon; another client loads. What the first
// one then says of its ids must not reach what is the second one's.
#include <csignal>
#include <filesystem>

#include "runtime/state/ids.h"
#include "test/hostile/hostile_test.h"

namespace nrtd::hostile {
namespace {

using integration::InferRequest;
using integration::LoadMessages;

enum class State { kNone, kDirectory };

class IdsTest : public HostileTest {
 protected:
  // As in a folder where no daemon has run yet.
  void StartAfresh(const std::vector<std::string>& arguments) {
    client_.reset();
    ASSERT_EQ(daemon().Stop(), 0);
    std::filesystem::remove_all(folder_.path());
    std::filesystem::create_directory(folder_.path());
    StartLimited(arguments);
  }
  std::vector<std::string> WithState() const {
    return {"--state-directory", state_.File("ids"), "--call-rate", "0"};
  }

  ScratchDirectory state_;
};

class RestartIdsTest : public IdsTest, public ::testing::WithParamInterface<State> {
 protected:
  // All that a client of the plugin's kind holds.
  struct Holdings {
    std::unique_ptr<integration::SessionStream> stream;
    uint64_t session = 0;
    uint32_t group = 0;
    uint32_t network = 0;
    uint64_t cookie = 0;
  };

  std::vector<std::string> StateArguments() const {
    return GetParam() == State::kNone ? std::vector<std::string>() : WithState();
  }
  // As the other client would: in a group of its own, under its session.
  Holdings TakeEverything() {
    Holdings held;
    held.stream = client().OpenSession();
    held.session = held.stream->Read().session_id();
    held.group = client().CreateGroup(1, held.session).h_eg().id();
    held.network =
        Load({.neff = digits_neff(), .group = held.group, .session = held.session, .ninfer = 4});
    EXPECT_THAT(client().Start(held.network), IsOk());
    const auto posted = client().Post(InferRequest(held.network, digits().Input(0)));
    EXPECT_THAT(posted, IsOk());
    held.cookie = posted.cookie();
    return held;
  }
  void Restart(int signal) {
    client_.reset();
    daemon().Signal(signal);
    (void)daemon().AwaitExit();
    StartLimited(StateArguments());
  }
  // What a client says that has not noticed the restart.
  void ExpectTheOldIdsReachNothing(const Holdings& old) {
    const std::string model = fmt::format("Failed to find model: {}", old.network);
    EXPECT_THAT(client().Infer(InferRequest(old.network, digits().Input(0))), HasStatus(3, model));
    EXPECT_THAT(client().Post(InferRequest(old.network, digits().Input(0))), HasStatus(3, model));
    EXPECT_THAT(client().Wait(old.cookie), HasStatus(3, "Failed to find inference"));
    EXPECT_THAT(client().Stop(old.network), HasStatus(3, model));
    EXPECT_THAT(client().Start(old.network), HasStatus(3, model));
    EXPECT_THAT(client().Unload(old.network), HasStatus(3, model));
    EXPECT_THAT(client().DestroyGroup(old.group),
                HasStatus(3, fmt::format("Failed to find NeuronCore group: {}", old.group)));
    EXPECT_THAT(client().CreateGroup(1, old.session), HasStatus(3, "Failed to find session"));
    EXPECT_THAT(client().Load(LoadMessages({.neff = digits_neff(), .session = old.session})),
                HasStatus(3, "Failed to find session"));
    EXPECT_THAT(client().Load(LoadMessages({.neff = digits_neff(), .group = old.group})),
                HasStatus(3, "Failed to find NeuronCore group"));
  }
  void ExpectServed(const Holdings& held) {
    ExpectReads(held.network);
    EXPECT_THAT(client().Wait(held.cookie), IsOk());
    const auto sessions = client().ListSessions();
    ASSERT_EQ(sessions.sessions_size(), 1);
    EXPECT_EQ(sessions.sessions(0).id(), held.session);
  }
};

TEST_P(RestartIdsTest, OldIdsDoNotReachWhatAnotherClientMadeSince) {
  StartAfresh(StateArguments());
  std::vector<Holdings> all;
  all.push_back(TakeEverything());
  // Stopped in good order, when the socket goes, and killed, when it stays.
  for (const int signal : {SIGTERM, SIGKILL, SIGTERM}) {
    Restart(signal);
    Holdings current = TakeEverything();
    for (const Holdings& old : all) {
      EXPECT_NE(current.network, old.network);
      EXPECT_NE(current.group, old.group);
      EXPECT_NE(current.session, old.session);
      EXPECT_NE(current.cookie, old.cookie);
      ExpectTheOldIdsReachNothing(old);
    }
    ExpectServed(current);
    all.push_back(std::move(current));
  }
}

TEST_P(RestartIdsTest, AFreshFolderBeginsAs1xDid) {
  StartAfresh(StateArguments());
  const Holdings held = TakeEverything();
  EXPECT_EQ(held.network, 10'001U);
  EXPECT_EQ(held.group, 1U);
}

INSTANTIATE_TEST_SUITE_P(All, RestartIdsTest, ::testing::Values(State::kNone, State::kDirectory),
                         [](const auto& test) {
                           return test.param == State::kNone ? "WithoutStateDirectory"
                                                             : "WithStateDirectory";
                         });

using StateDirectoryTest = IdsTest;

TEST_F(StateDirectoryTest, AKilledDaemonHadReservedWhatItHandedOut) {
  StartAfresh(WithState());
  uint32_t last_group = 0;
  for (int run = 0; run < 2; ++run) {
    // More than a block of them.
    for (int i = 0; i < 1100; ++i) {
      const uint32_t group = client().CreateGroup(1).h_eg().id();
      ASSERT_GT(group, last_group);
      last_group = group;
      ASSERT_THAT(client().DestroyGroup(group), IsOk());
    }
    client_.reset();
    daemon().Signal(SIGKILL);
    EXPECT_EQ(daemon().AwaitExit(), -1);
    StartLimited(WithState());
  }
  EXPECT_GT(client().CreateGroup(1).h_eg().id(), last_group);
}

TEST_F(StateDirectoryTest, ADamagedFileEndsTheStart) {
  StartAfresh(WithState());
  client_.reset();
  ASSERT_EQ(daemon().Stop(), 0);
  memory::WriteText(state_.File("ids") + "/ids", "neuron-rtd ids 1\n");
  DaemonProcess refused(Arguments(WithState()));
  EXPECT_EQ(refused.AwaitExit(), 1);
  EXPECT_THAT(refused.Log(), ::testing::HasSubstr("Remove the file: ids then begin at random"));
  daemon_.reset();
}

// The folder is another daemon's as well, or holds what a client has put there.
TEST_F(StateDirectoryTest, AFolderWithOtherFilesBeginsAtRandom) {
  client_.reset();
  ASSERT_EQ(daemon().Stop(), 0);
  std::filesystem::remove(File(runtime::kFolderMark));
  memory::WriteText(File("something"), "");
  StartLimited();
  EXPECT_GE(Load({.neff = digits_neff()}), 1U << 20);
  EXPECT_GE(client().CreateGroup(1).h_eg().id(), 1U << 20);
}

}  // namespace
}  // namespace nrtd::hostile
