// SPDX-License-Identifier: Apache-2.0
//
// The daemon knows who is connected, keeps clients apart where it is told to, and frees what they
// leave.
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "runtime/session/peer.h"
#include "test/integration/client_process.h"
#include "test/integration/daemon_test.h"
#include "test/memory/client_shm.h"

namespace nrtd::integration {
namespace {

using ::testing::HasSubstr;

constexpr uid_t kSomebody = 1000;

class ClientsTest : public DaemonTest {
 protected:
  void SetUp() override {
    DaemonTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    WriteText(File("slow.neff"), SlowNeff());
  }
  void Restart(const std::vector<std::string>& arguments) {
    RestartDaemon(arguments);
    idle_ = ReadUsage(client());
  }
  // Lets other users reach the socket and the files.
  void OpenFolder() {
    ASSERT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
    ASSERT_EQ(::chmod(File("slow.neff").c_str(), 0644), 0);
  }
  ClientProcess Other(const std::vector<std::string>& more = {}) {
    return {address(), File("slow.neff"), shm_.name(), more};
  }
  std::vector<v1::Client> Listed(pid_t pid) {
    std::vector<v1::Client> found;
    const auto listed = client().ListClients();
    for (const v1::Client& known : listed.clients())
      if (known.pid() == pid) found.push_back(known);
    return found;
  }
  nrt::shm_map_response Map(RtdClient& who, const std::string& path) {
    nrt::shm_map_request request;
    request.set_path(path);
    request.set_mmap_prot(PROT_READ | PROT_WRITE);
    return who.Map(request);
  }

  // That so many of SlowNeff() end without all of them being run.
  void ExpectGivenUp(uint32_t inferences) {
    Await("the slots", [&] { return ReadUsage(client()).slots_in_use == 0; });
    uint64_t products = 0;
    for (uint32_t core = 0; core < 4; ++core)
      products += client().CoreCounters(core).nc_counters().pe_matmul_num_executed_instr();
    EXPECT_LT(products, uint64_t{inferences} * kSlowLayers);
  }

  memory::ClientShm shm_{kSlowSide * kSlowSide * sizeof(float)};
  Usage idle_;
};

TEST_F(ClientsTest, EveryConnectionHasItsProcessUserAndCgroup) {
  const auto own = Listed(::getpid());
  ASSERT_EQ(own.size(), 1U);
  EXPECT_EQ(own[0].uid(), ::getuid());
  EXPECT_EQ(own[0].gid(), ::getgid());
  EXPECT_EQ(own[0].cgroup(), runtime::CgroupOf(Must(ReadTextFile("/proc/self/cgroup"))));

  const RtdClient second(address());
  (void)RtdClient(address()).GetVersion();
  ClientProcess other = Other();
  const auto made = other.AwaitReady();
  ASSERT_NE(made.session, 0U);
  const auto theirs = Listed(other.pid());
  ASSERT_EQ(theirs.size(), 1U);
  ASSERT_EQ(theirs[0].session_ids_size(), 1);
  EXPECT_EQ(theirs[0].session_ids(0), made.session);
  const auto sessions = client().ListSessions();
  ASSERT_EQ(sessions.sessions_size(), 1);
  EXPECT_EQ(sessions.sessions(0).pid(), other.pid());
  EXPECT_EQ(sessions.sessions(0).connection_id(), theirs[0].connection_id());
  other.Kill();
  Await("the client to be gone", [&] { return Listed(other.pid()).empty(); });
}

TEST_F(ClientsTest, LogLinesNameTheClient) {
  const uint32_t network = Load({.neff = digits_neff()});
  EXPECT_THAT(client().Load(LoadMessages({.neff = "not a NEFF"})), HasStatus(2, ""));
  EXPECT_TRUE(daemon().AwaitLog(fmt::format("pid {} uid 0 loaded model {}", ::getpid(), network)));
  EXPECT_TRUE(daemon().AwaitLog(fmt::format("[NMGR:Load] pid {} uid 0: ", ::getpid())));
}

TEST_F(ClientsTest, ThousandsOfConnectionsComeAndGo) {
  RestartDaemon({"--call-rate", "0"});  // one process is many clients here
  const size_t files = daemon().OpenFiles();
  for (int i = 0; i < 2'000; ++i) (void)RtdClient(address()).GetVersion();
  Await("their descriptors to be closed", [&] { return daemon().OpenFiles() <= files + 4; });
  EXPECT_EQ(Listed(::getpid()).size(), 1U);
}

TEST_F(ClientsTest, WithoutReclaimWhatAClientMadeWithoutASessionStays) {
  const Usage before = ReadUsage(client());
  ClientProcess other = Other({"--no-session"});
  const auto made = other.AwaitReady();
  ASSERT_NE(made.network, 0U);
  const pid_t pid = other.pid();
  other.Kill();
  Await("the client to be gone", [&] { return Listed(pid).empty(); });
  EXPECT_EQ(ReadUsage(client()).networks, before.networks + 1);
  EXPECT_THAT(client().Unload(made.network), IsOk());
  EXPECT_THAT(client().DestroyGroup(made.group), IsOk());
}

TEST_F(ClientsTest, WhatAKilledClientWaitsForIsNotRunIfItHasNotBegun) {
  constexpr uint32_t kInferences = 10;
  WriteText(File("slow.neff"), SlowNeff());
  ClientProcess other(address(), File("slow.neff"), shm_.name(),
                      {"--no-session", "--infer", fmt::to_string(kInferences)});
  const auto made = other.AwaitReady();
  ASSERT_NE(made.network, 0U);
  Await("the inferences", [&] { return ReadUsage(client()).slots_in_use == kInferences; });
  other.Kill();
  ExpectGivenUp(kInferences);
  EXPECT_THAT(client().Unload(made.network), IsOk());
}

// The client stays connected and gives up its calls alone: by a time-out of its own, say.
TEST_F(ClientsTest, WhatAClientGivesUpIsNotRunIfItHasNotBegun) {
  constexpr uint32_t kInferences = 10;
  const uint32_t network = Load({.neff = SlowNeff(), .ninfer = kInferences, .timeout_s = 60});
  std::vector<std::unique_ptr<PendingCall>> calls;
  for (uint32_t i = 0; i < kInferences / 2; ++i) {
    const auto posted = client().Post(SlowInput(network));
    ASSERT_THAT(posted, IsOk());
    calls.push_back(client().BeginWait(posted.cookie()));
    calls.push_back(client().BeginInfer(SlowInput(network)));
  }
  Await("the inferences", [&] { return ReadUsage(client()).slots_in_use == kInferences; });
  calls.clear();
  ExpectGivenUp(kInferences);
  EXPECT_THAT(client().Unload(network), IsOk());
}

TEST_F(ClientsTest, WithReclaimAKilledClientWithoutASessionLeavesNothing) {
  Restart({"--reclaim-on-disconnect"});
  for (int round = 0; round < 3; ++round) {
    ClientProcess other = Other({"--no-session"});
    ASSERT_NE(other.AwaitReady().network, 0U);
    ASSERT_NE(ReadUsage(client()), idle_);
    other.Kill();
    Await("everything to be freed", [&] { return ReadUsage(client()) == idle_; });
  }
  const std::string maps = Must(ReadTextFile(fmt::format("/proc/{}/maps", daemon().pid())));
  EXPECT_EQ(maps.find(shm_.name()), std::string::npos);
}

TEST_F(ClientsTest, WithReclaimOthersKeepWhatTheyHave) {
  Restart({"--reclaim-on-disconnect"});
  const uint32_t mine = Load({.neff = digits_neff()});
  RtdClient(address()).CreateGroup(1);
  {
    RtdClient going(address());
    ASSERT_THAT(going.CreateGroup(1), IsOk());
    ASSERT_THAT(going.Load(LoadMessages({.neff = digits_neff()})), IsOk());
  }
  Await("what the other one made to go", [&] { return ReadUsage(client()).groups == 1; });
  ExpectReads(mine);
}

// What one process made is, for another one, as if it did not exist.
TEST_F(ClientsTest, IsolatedClientsCannotUseEachOthersHandles) {
  Restart({"--isolation", "session"});
  ClientProcess other = Other();
  const auto theirs = other.AwaitReady();
  ASSERT_NE(theirs.network, 0U);
  const Usage before = ReadUsage(client());
  const std::string model = fmt::format("Failed to find model: {}", theirs.network);
  EXPECT_THAT(client().Infer(SlowInput(theirs.network)), HasStatus(3, model));
  EXPECT_THAT(client().Post(SlowInput(theirs.network)), HasStatus(3, model));
  EXPECT_THAT(client().Start(theirs.network), HasStatus(3, model));
  EXPECT_THAT(client().Stop(theirs.network), HasStatus(3, model));
  EXPECT_THAT(client().Unload(theirs.network), HasStatus(3, model));
  EXPECT_THAT(client().Wait(theirs.cookie), HasStatus(3, "Failed to find inference"));
  EXPECT_THAT(client().Poll(theirs.cookie), HasStatus(3, "Failed to find inference"));
  EXPECT_THAT(client().CheckCompletion({theirs.cookie}), HasStatus(3, "Failed to find inference"));
  EXPECT_THAT(client().DestroyGroup(theirs.group), HasStatus(3, "Failed to find NeuronCore group"));
  EXPECT_THAT(client().Load(LoadMessages({.neff = digits_neff(), .group = theirs.group})),
              HasStatus(3, "Failed to find NeuronCore group"));
  EXPECT_THAT(client().Load(LoadMessages({.neff = digits_neff(), .session = theirs.session})),
              HasStatus(3, "Failed to find session"));
  EXPECT_THAT(client().CreateGroup(1, theirs.session), HasStatus(3, "Failed to find session"));
  EXPECT_THAT(client().Unmap(shm_.name()), HasStatus(2, "is not mapped"));
  EXPECT_THAT(client().UnloadAll(), IsOk());
  EXPECT_EQ(ReadUsage(client()), before);
}

TEST_F(ClientsTest, IsolatedClientsHaveMappingsOfTheirOwn) {
  Restart({"--isolation", "session"});
  ClientProcess other = Other();
  ASSERT_NE(other.AwaitReady().network, 0U);
  const uint32_t mine = Load({.neff = SlowNeff(), .timeout_s = 60});
  nrt::infer_request request;
  request.mutable_h_nn()->set_id(mine);
  *request.add_ifmap() = SharedTensor("x", shm_.name());
  EXPECT_THAT(client().Infer(request), HasStatus(1002, "is not mapped"));
  ASSERT_THAT(Map(client(), shm_.name()), IsOk());
  EXPECT_THAT(client().Infer(request), IsOk());
  EXPECT_THAT(client().Unmap(shm_.name()), IsOk());
  EXPECT_THAT(client().Unmap(shm_.name()), HasStatus(2, "is not mapped"));
}

TEST_F(ClientsTest, TheConnectionsOfOneProcessAreNotIsolated) {
  Restart({"--isolation", "session"});
  const uint32_t network = Load({.neff = digits_neff()});
  RtdClient second(address());
  EXPECT_THAT(second.Infer(InferRequest(network, digits().Input(0))), IsOk());
  EXPECT_THAT(second.Unload(network), IsOk());
}

TEST_F(ClientsTest, OperatorsMayUseEverybodysHandles) {
  Restart({"--isolation", "session", "--operator-uid", "0"});
  OpenFolder();
  ASSERT_EQ(::chmod(("/dev/shm" + shm_.name()).c_str(), 0666), 0);
  ClientProcess other = Other({"--uid", std::to_string(kSomebody)});
  const auto theirs = other.AwaitReady();
  ASSERT_NE(theirs.network, 0U);
  EXPECT_THAT(client().Stop(theirs.network), IsOk());
  EXPECT_THAT(client().UnloadAll(), IsOk());
  EXPECT_EQ(ReadUsage(client()), idle_);
}

TEST_F(ClientsTest, AClientCannotMapWhatItCouldNotOpen) {
  OpenFolder();
  const memory::ClientShm secret(4096);
  ASSERT_EQ(::chmod(("/dev/shm" + secret.name()).c_str(), 0600), 0);
  ASSERT_THAT(Map(client(), secret.name()), IsOk());
  ClientProcess other(address(), File("slow.neff"), secret.name(),
                      {"--uid", std::to_string(kSomebody)});
  EXPECT_EQ(other.AwaitReady().network, 0U);
  EXPECT_TRUE(daemon().AwaitLog(fmt::format("uid {} or the daemon may not read and", kSomebody)));
}

TEST_F(ClientsTest, TheSocketHasTheModeAndGroupThatWereAsked) {
  struct stat info {};
  ASSERT_EQ(::stat(SocketPath().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0666U);
  Restart({"--socket-mode", "0660", "--socket-group", "12345"});
  ASSERT_EQ(::stat(SocketPath().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0660U);
  EXPECT_EQ(info.st_gid, 12345U);
}

TEST_F(ClientsTest, ByTcpNobodyCanBeIsolated) {
  DaemonProcess by_tcp({"--sim", "inf1.xlarge", "-g", "127.0.0.1:0", "-x", "--hugepages", "16",
                        "--isolation", "session"});
  EXPECT_EQ(by_tcp.AwaitExit(), 1);
  EXPECT_THAT(by_tcp.Log(), HasSubstr("need a unix socket"));
}

}  // namespace
}  // namespace nrtd::integration
