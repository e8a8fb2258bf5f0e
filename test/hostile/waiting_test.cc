// SPDX-License-Identifier: Apache-2.0
//
// A daemon that waits for its devices or its memory is the same server, without privileges, as when
// it has them: sessions are answered and held, what needs a device says what is missing, and
// clients go on without connecting again when it comes.
#include <atomic>
#include <csignal>
#include <filesystem>
#include <thread>

#include "base/file.h"
#include "base/sanitized.h"
#include "test/hostile/hostile_test.h"

namespace nrtd::hostile {
namespace {

using integration::InferRequest;
using integration::LoadMessages;
using integration::SessionStream;
using ::testing::HasSubstr;
using ::testing::Not;

// How many huge pages the daemon believes the machine to have: it inherits this thread's mounts.
class PretendedPages {
 public:
  PretendedPages() : mount_("/sys/kernel/mm/hugepages", "tmpfs") {}
  bool possible() const { return mount_.mounted(); }
  void Set(uint64_t free) const {
    const std::string folder = mount_.path() + "/hugepages-2048kB/";
    std::filesystem::create_directory(folder);
    for (const char* none : {"resv_hugepages", "surplus_hugepages", "nr_overcommit_hugepages"})
      memory::WriteText(folder + none, "0\n");
    memory::WriteText(folder + "nr_hugepages", "1000\n");
    memory::WriteText(folder + "free_hugepages", fmt::format("{}\n", free));
  }

 private:
  memory::PrivateMount mount_;
};

class WaitingTest : public HostileTest {
 protected:
  void SetUp() override {
    HostileTest::SetUp();
    if (IsSkipped()) return;
    client_.reset();
    ASSERT_EQ(daemon().Stop(), 0);
    daemon_.reset();
    pages_.emplace();
    if (!pages_->possible()) GTEST_SKIP() << "hiding the machine's huge pages takes root";
    pages_->Set(1);
    daemon_ = std::make_unique<DaemonProcess>(Arguments(), group().Launcher());
    ASSERT_TRUE(daemon().AwaitLog("not initialized")) << daemon().Log();
    client_ = std::make_unique<RtdClient>(address());
  }
  void LetPagesCome() {
    pages_->Set(1000);
    ASSERT_TRUE(daemon().AwaitListening()) << daemon().Log();
  }
  void ExpectRefused(const nrt::status& status) {
    EXPECT_THAT(status, HasStatus(6, "Attempt to preallocate 16 hugetlb pages failed!"));
    EXPECT_THAT(status, HasStatus(6, "run: sysctl -w vm.nr_hugepages=1015"));
  }
  std::string StatusField(const std::string& key) {
    const std::string status = Must(ReadTextFile(fmt::format("/proc/{}/status", daemon().pid())));
    const size_t at = status.find("\n" + key + ":\t");
    if (at == std::string::npos) return "";
    const size_t begin = at + key.size() + 3;
    return status.substr(begin, status.find('\n', begin) - begin);
  }

 private:
  std::optional<PretendedPages> pages_;
};

TEST_F(WaitingTest, ASessionThatWasOpenedMeanwhileServesWhenHugePagesCome) {
  const auto stream = client().OpenSession();
  const auto greeting = stream->Read();
  const uint64_t session = greeting.session_id();
  EXPECT_NE(session, 0U);
  EXPECT_EQ(greeting.runtime_version().major_num(), 1U);
  const pid_t pid = daemon().pid();
  ExpectRefused(client().CreateGroup(1, session).status());
  ExpectRefused(client().Load(LoadMessages({.neff = digits_neff(), .session = session})).status());
  ExpectRefused(client().Health().status());

  LetPagesCome();
  EXPECT_EQ(client().Health().state(), "ok");
  EXPECT_EQ(client().Health().pid(), pid);
  const auto group = client().CreateGroup(1, session);
  ASSERT_THAT(group, IsOk());
  const uint32_t network =
      Load({.neff = digits_neff(), .group = group.h_eg().id(), .session = session});
  ASSERT_THAT(client().Start(network), IsOk());
  ExpectReads(network);
  const auto sessions = client().ListSessions();
  ASSERT_EQ(sessions.sessions_size(), 1);
  EXPECT_EQ(sessions.sessions(0).id(), session);
  EXPECT_EQ(sessions.sessions(0).network_ids_size(), 1);
  // The bus addresses are physical, as if the pages had been there from the start.
  if (memory::SeesPhysicalAddresses()) {
    EXPECT_THAT(daemon().Log(), Not(HasSubstr("virtual addresses")));
  }

  stream->WritesDone();
  EXPECT_TRUE(stream->AtEnd());
  EXPECT_EQ(stream->Finish(), 0);
  Await("the session's network to go", [&] { return client().ListNetworks().networks().empty(); });
}

TEST_F(WaitingTest, TheProbeOfThePublicClientFindsADaemon) {
  const auto probe = client().OpenSession();
  EXPECT_NE(probe->Read().session_id(), 0U);  // before it has written anything
  EXPECT_EQ(client().ListSessions().sessions_size(), 1);
  probe->WritesDone();
  EXPECT_TRUE(probe->AtEnd());
  EXPECT_EQ(probe->Finish(), 0);
  Await("the end of the session", [&] { return client().ListSessions().sessions().empty(); });
}

TEST_F(WaitingTest, EveryCallSaysWhatIsMissing) {
  EXPECT_EQ(client().GetVersion().runtime_version().major_num(), 1U);
  EXPECT_THAT(client().ListClients(), IsOk());
  EXPECT_THAT(client().ListSessions(), IsOk());
  EXPECT_EQ(client().Health().state(), "failed");
  EXPECT_THAT(client().Health().reason(), HasSubstr("sysctl -w vm.nr_hugepages="));
  ExpectRefused(client().Infer(InferRequest(1, {})).status());
  ExpectRefused(client().Post(InferRequest(1, {})).status());
  ExpectRefused(client().Wait(1).status());
  ExpectRefused(client().Unload(1).status());
  ExpectRefused(client().DestroyGroup(1).status());
  ExpectRefused(client().UnloadAll());
  ExpectRefused(client().ListGroups().status());
  ExpectRefused(client().ListNetworks().status());
  ExpectRefused(client().ListDevices().status());
  ExpectRefused(client().AllCounters().status());
  ExpectRefused(client().InferStream({InferRequest(1, {}), InferRequest(1, {})}).at(1).status());
}

TEST_F(WaitingTest, WhoTalksToClientsHasNoPrivilege) {
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"})
    EXPECT_EQ(StatusField(set), "0000000000000000") << set;
  EXPECT_EQ(StatusField("NoNewPrivs"), "1");
  if (!kSanitized) {
    EXPECT_EQ(StatusField("Seccomp"), "2");
  }
}

TEST_F(WaitingTest, ALoadIsDiscardedAsItComes) {
  constexpr int kChunks = 300;
  const std::string chunk(1 << 20, 'x');
  std::vector<nrt::load_request> messages(kChunks + 1);
  messages[0].set_neff_size(uint64_t{kChunks} << 20);
  for (int i = 1; i <= kChunks; ++i)
    messages[static_cast<size_t>(i)].mutable_neff_chunk()->set_chunk(chunk);
  ExpectRefused(client().Load(messages).status());
  if (!kSanitized) {
    EXPECT_LT(daemon().StatusBytes("VmHWM"), 100 * kMiB);
  }
}

// Whatever a session makes in the moment in which the devices come goes with it.
TEST_F(WaitingTest, SessionsThatCloseWhileTheDevicesComeLeaveNothing) {
  std::atomic<bool> done{false};
  std::atomic<int> made{0};
  std::vector<std::jthread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      RtdClient own(address());
      while (!done) {
        const auto stream = own.OpenSession();
        const uint64_t session = stream->Read().session_id();
        made += own.CreateGroup(1, session).status().code() == 0 ? 1 : 0;
        stream->WritesDone();
        stream->Finish();
      }
    });
  }
  LetPagesCome();
  Await("sessions with groups", [&] { return made > 50; });
  done = true;
  clients.clear();
  Await("the end of the sessions", [&] { return client().ListSessions().sessions().empty(); });
  Await("the end of their groups", [&] { return client().ListGroups().eg_info().empty(); });
}

TEST_F(WaitingTest, SigtermEndsIt) {
  const auto stream = client().OpenSession();
  stream->Read();
  EXPECT_EQ(daemon().Stop(), 0);
  EXPECT_FALSE(std::filesystem::exists(SocketPath()));
  client_.reset();
  daemon_.reset();
}

}  // namespace
}  // namespace nrtd::hostile
