// SPDX-License-Identifier: Apache-2.0
//
// How a daemon starts: with what, from which files, with which rights, and what it does while it
// cannot.
#include <csignal>
#include <filesystem>

#include <sys/stat.h>

#include "base/file.h"
#include "base/sanitized.h"
#include "test/integration/daemon_test.h"
#include "test/tools/run_binary.h"

namespace nrtd::integration {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class StartTest : public DaemonTest {
 protected:
  void SetUp() override {}

  // The arguments of a daemon beside others: few huge pages, its own socket.
  static std::vector<std::string> Beside(const std::string& address, const std::string& instance,
                                         std::vector<std::string> more = {}) {
    std::vector<std::string> words = {"--sim", instance, "-g", address, "-x", "--hugepages", "16"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  // It cannot start, and says so in these words to whoever calls.
  void ExpectUnavailable(const std::string& words) {
    ASSERT_TRUE(daemon().AwaitLog("not initialized")) << daemon().Log();
    client_ = std::make_unique<RtdClient>(address());
    EXPECT_THAT(client().ListGroups(), HasStatus(6, words));
  }
  static std::vector<std::string> Bdfs(RtdClient& client) {
    std::vector<std::string> bdfs;
    const auto listed = client.ListDevices();
    for (const auto& device : listed.devices()) bdfs.push_back(device.bdf());
    return bdfs;
  }
  uint32_t NinferOf(uint32_t network) {
    const auto listed = client().ListNetworks();
    for (const auto& known : listed.networks())
      if (known.id() == network) return known.ninfer();
    return 0;
  }
};

TEST_F(StartTest, WithTooFewHugePagesItStaysAndAnswersCode6WithTheCommandThatMendsIt) {
  daemon_ = std::make_unique<DaemonProcess>(std::vector<std::string>{
      "--sim", "inf1.xlarge", "-g", address(), "-x", "--hugepages", "60000"});
  const std::string words = "Attempt to preallocate 60000 hugetlb pages failed!";
  ExpectUnavailable(words);
  EXPECT_THAT(client().ListGroups(), HasStatus(6, "sysctl -w vm.nr_hugepages="));
  EXPECT_THAT(client().Load(LoadMessages({.neff = std::string(3 << 20, 'x')})),
              HasStatus(6, words));
  EXPECT_THAT(client().Infer(InferRequest(10'001, {{"x", "1"}})), HasStatus(6, words));
  EXPECT_THAT(client().CreateGroup(1), HasStatus(6, words));
  EXPECT_THAT(client().UnloadAll(), HasStatus(6, words));
  EXPECT_THAT(client().ListGroups(), HasStatus(6, words));
  EXPECT_THAT(client().Metrics(0), HasStatus(6, words));
  EXPECT_THAT(client().InferStream({InferRequest(10'001, {})}).at(0), HasStatus(6, words));
  EXPECT_THAT(client().ListNetworks(), HasStatus(6, words));
  const auto health = client().Health();
  EXPECT_EQ(health.state(), "failed");
  EXPECT_THAT(health.reason(), HasSubstr(words));
  EXPECT_NE(client().OpenSession()->Read().session_id(), 0U);
  EXPECT_EQ(daemon().Stop(), 0);
  EXPECT_FALSE(std::filesystem::exists(SocketPath()));
  daemon_.reset();
}

TEST_F(StartTest, WhenItsDevicesBecomeFreeItServes) {
  NRTD_REQUIRE_HUGE_PAGES(2 * kTestHugePages);
  const std::vector<std::string> lock = {"--lock-directory", File("infa")};
  DaemonProcess first(Beside("unix:" + File("first.sock"), "inf1.xlarge", lock));
  ASSERT_TRUE(first.AwaitListening());
  daemon_ = std::make_unique<DaemonProcess>(Beside(address(), "inf1.xlarge", lock));
  ExpectUnavailable(
      fmt::format("Failed to lock MLA. File {}/infa-0000:00:1f.0.json is locked by pid {}",
                  File("infa"), first.pid()));
  const auto session = client().OpenSession();
  const uint64_t id = session->Read().session_id();
  EXPECT_EQ(first.Stop(), 0);
  ASSERT_TRUE(daemon().AwaitListening());
  ExpectReads(Load({.neff = digits_neff(), .session = id}));
  EXPECT_TRUE(std::filesystem::exists(File("infa/infa-0000:00:1f.0.json")));
}

TEST_F(StartTest, WithoutHugePagesItServesOnSmallOnesIfAllowed) {
  // The daemon inherits this thread's mounts: where huge pages are, they are hidden from it.
  std::unique_ptr<memory::PrivateMount> hidden;
  if (memory::HasFreeHugePages(kTestHugePages)) {
    hidden = std::make_unique<memory::PrivateMount>("/sys/kernel/mm/hugepages", "tmpfs");
    if (!hidden->mounted()) GTEST_SKIP() << "hiding the machine's huge pages takes root";
  }
  daemon_ = std::make_unique<DaemonProcess>(Arguments());
  ExpectUnavailable("huge pages");
  client_.reset();
  EXPECT_EQ(daemon().Stop(), 0);
  StartDaemon({"--allow-small-pages"});
  EXPECT_THAT(daemon().Log(), HasSubstr("using ordinary pages"));
  EXPECT_EQ(daemon().StatusBytes("HugetlbPages"), 0U);
  ExpectReads(Load({.neff = digits_neff()}));
}

TEST_F(StartTest, WithoutADeviceItRefusesClearly) {
  for (const auto& [arguments, words] :
       std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"--sim", "inf1.huge"}, "inf1.huge"},
           {{"--sim", "inf1.xlarge", "-t", "0000:00:11.0"}, "there is no Inferentia 0000:00:11.0"},
           {{"--sim", "inf1.6xlarge", "--visible-devices", "0,2"}, "are not contiguous"},
           {{"--sim", "inf1.xlarge", "-i", "no-such-instance"}, "no-such-instance.json in"}}) {
    std::vector<std::string> words_of_line = {"-g", address(), "-x"};
    words_of_line.insert(words_of_line.end(), arguments.begin(), arguments.end());
    DaemonProcess refused(words_of_line);
    EXPECT_EQ(refused.AwaitExit(), 1);
    EXPECT_THAT(refused.Log(), HasSubstr(words));
  }
  EXPECT_FALSE(std::filesystem::exists(SocketPath()));
}

TEST_F(StartTest, AMissingFolderForTheSocketEndsIt) {
  NRTD_REQUIRE_HUGE_PAGES(kTestHugePages);
  const std::string nowhere = "unix:" + File("missing/nrtd.sock");
  DaemonProcess refused(Beside(nowhere, "inf1.xlarge"));
  EXPECT_EQ(refused.AwaitExit(), 1);
  EXPECT_THAT(refused.Log(), HasSubstr("cannot listen on " + nowhere + ": No such file"));
}

TEST_F(StartTest, AWrongConfigurationIsNamedWithFileLineAndKey) {
  WriteText(File("rtd.config"), "{\n  \"default_ninfer\": 0\n}\n");
  DaemonProcess refused(Beside(address(), "inf1.xlarge", {"-c", File("rtd.config")}));
  EXPECT_EQ(refused.AwaitExit(), 1);
  EXPECT_THAT(refused.Log(), HasSubstr("rtd.config, line 2: key 'default_ninfer': a number from"));
}

TEST_F(StartTest, SeveralDaemonsHaveTheirOwnDevicesAndSockets) {
  NRTD_REQUIRE_HUGE_PAGES(64);
  const auto instance = [&](const std::string& name, const std::string& devices) {
    WriteText(File(name + ".json"),
              fmt::format(R"({{"name": "{0}", "server_port": "unix:{1}", "devices": {2}}})", name,
                          File(name + ".sock"), devices));
    return std::vector<std::string>{"--sim",     "inf1.6xlarge", "-i", File(name + ".json"),
                                    "-x",        "--hugepages",  "16", "--lock-directory",
                                    File("infa")};
  };
  DaemonProcess first(instance("nrtd0", "[0, 1]"));
  DaemonProcess second(instance("nrtd1", "[3, 2]"));
  ASSERT_TRUE(first.AwaitListening());
  ASSERT_TRUE(second.AwaitListening());
  RtdClient one("unix:" + File("nrtd0.sock"));
  RtdClient two("unix:" + File("nrtd1.sock"));
  EXPECT_EQ(Bdfs(one), (std::vector<std::string>{"0000:00:1c.0", "0000:00:1d.0"}));
  EXPECT_EQ(Bdfs(two), (std::vector<std::string>{"0000:00:1e.0", "0000:00:1f.0"}));
  EXPECT_EQ(one.CreateGroup(8).nc_count(), 8U);
  EXPECT_EQ(two.CreateGroup(8).nc_count(), 8U);
  EXPECT_EQ(first.Stop(), 0);
  EXPECT_EQ(second.Stop(), 0);
  EXPECT_TRUE(std::filesystem::is_empty(File("infa")));
}

// One of four devices is another daemon's: the others are in service, and that is said. When it is
// free it is taken, with what runs on the others undisturbed.
TEST_F(StartTest, TheHealthyDevicesOfSeveralAreInServiceAndTheOthersAreTakenLater) {
  NRTD_REQUIRE_HUGE_PAGES(80);
  const std::vector<std::string> lock = {"--lock-directory", File("infa")};
  auto only_first = lock;
  only_first.insert(only_first.end(), {"--visible-devices", "1"});
  DaemonProcess other(Beside("unix:" + File("other.sock"), "inf1.6xlarge", only_first));
  ASSERT_TRUE(other.AwaitListening());
  daemon_ = std::make_unique<DaemonProcess>(Beside(address(), "inf1.6xlarge", lock));
  ASSERT_TRUE(daemon().AwaitListening());
  client_ = std::make_unique<RtdClient>(address());
  const std::vector<std::string> without = {"0000:00:1c.0", "0000:00:1e.0", "0000:00:1f.0"};
  EXPECT_EQ(Bdfs(client()), without);
  EXPECT_EQ(client().ListGroups().mla_count(), 3U);
  EXPECT_EQ(client().ListGroups().nc_count(), 12U);
  EXPECT_THAT(client().CoreCounters(4), HasStatus(2, "NC 4 is not in service"));
  EXPECT_THAT(client().CreateGroup(9), HasStatus(9, "exceeds the total available number: 8"));
  const uint32_t network = Load({.neff = digits_neff()});
  const auto health = client().Health();
  EXPECT_EQ(health.state(), "degraded");
  EXPECT_THAT(health.reason(),
              HasSubstr(fmt::format("infa-0000:00:1d.0.json is locked by pid {}", other.pid())));
  EXPECT_EQ(other.Stop(), 0);
  ASSERT_TRUE(daemon().AwaitLog("Initialized Inferentia: 0000:00:1d.0"));
  Await("the device in service", [&] { return client().Health().state() == "ok"; });
  EXPECT_EQ(client().ListGroups().nc_count(), 16U);
  EXPECT_EQ(client().CreateGroup(12).nc_count(), 12U);
  ExpectReads(network);
}

// "6 minutes to start on 16 devices", as the original once took.
TEST_F(StartTest, SixteenDevicesAreSixtyFourCores) {
  NRTD_REQUIRE_HUGE_PAGES(16 * 8);
  daemon_ = std::make_unique<DaemonProcess>(std::vector<std::string>{
      "--sim", "inf1.24xlarge", "-g", address(), "-x", "--hugepages", "8"});
  ASSERT_TRUE(daemon().AwaitListening());
  client_ = std::make_unique<RtdClient>(address());
  EXPECT_EQ(client().ListGroups().mla_count(), 16U);
  EXPECT_EQ(client().CreateGroup(0).nc_count(), 64U);
}

TEST_F(StartTest, SighupReadsTheConfigurationAgain) {
  NRTD_REQUIRE_HUGE_PAGES(kTestHugePages);
  WriteText(File("rtd.config"), R"({"default_ninfer": 1})");
  daemon_ =
      std::make_unique<DaemonProcess>(Beside(address(), "inf1.xlarge", {"-c", File("rtd.config")}));
  ASSERT_TRUE(daemon().AwaitListening());
  client_ = std::make_unique<RtdClient>(address());
  EXPECT_EQ(NinferOf(Load({.neff = digits_neff()})), 1U);
  WriteText(File("rtd.config"), R"({"default_ninfer": 3, "log_level": 6})");
  daemon().Signal(SIGHUP);
  ASSERT_TRUE(daemon().AwaitLog("rtd.config was read again"));
  EXPECT_EQ(NinferOf(Load({.neff = digits_neff()})), 3U);
  EXPECT_EQ(NinferOf(Load({.neff = digits_neff(), .ninfer = 2})), 2U);
  (void)RtdClient(address()).GetVersion();
  EXPECT_TRUE(daemon().AwaitLog("[NMGR:Client] pid"));
  WriteText(File("rtd.config"), "{");
  daemon().Signal(SIGHUP);
  ASSERT_TRUE(daemon().AwaitLog("SIGHUP: " + File("rtd.config") + ", line 1: this is no JSON"));
  EXPECT_EQ(NinferOf(Load({.neff = digits_neff()})), 3U);
}

std::string StatusField(const std::string& status, const std::string& key) {
  const size_t at = status.find("\n" + key + ":\t");
  if (at == std::string::npos) return "";
  const size_t begin = at + key.size() + 3;
  return status.substr(begin, status.find('\n', begin) - begin);
}

TEST_F(StartTest, NoThreadKeepsAPrivilege) {
  NRTD_REQUIRE_HUGE_PAGES(kTestHugePages);
  daemon_ = std::make_unique<DaemonProcess>(Beside(address(), "inf1.xlarge"));
  ASSERT_TRUE(daemon().AwaitListening());
  client_ = std::make_unique<RtdClient>(address());
  ExpectReads(Load({.neff = digits_neff()}));
  const std::string none = "0000000000000000";
  int threads = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(fmt::format("/proc/{}/task", daemon().pid()))) {
    const std::string status = Must(ReadTextFile(entry.path().string() + "/status"));
    for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"})
      EXPECT_EQ(StatusField(status, set), none) << set << " of " << entry.path();
    EXPECT_EQ(StatusField(status, "NoNewPrivs"), "1") << entry.path();
    if (!kSanitized) {
      EXPECT_EQ(StatusField(status, "Seccomp"), "2") << entry.path();
    }
    ++threads;
  }
  EXPECT_GT(threads, 4);
}

TEST_F(StartTest, TheSystemCallFilterCanBeSwitchedOff) {
  NRTD_REQUIRE_HUGE_PAGES(kTestHugePages);
  daemon_ = std::make_unique<DaemonProcess>(Beside(address(), "inf1.xlarge", {"--no-seccomp"}));
  ASSERT_TRUE(daemon().AwaitListening());
  const std::string status = Must(ReadTextFile(fmt::format("/proc/{}/status", daemon().pid())));
  EXPECT_EQ(StatusField(status, "Seccomp"), "0");
}

// The doctor of a daemon.
using ::nrtd::testing::Finished;

TEST_F(StartTest, TheDoctorFindsAHealthyMachineHealthy) {
  NRTD_REQUIRE_HUGE_PAGES(kTestHugePages);
  const Finished run = ::nrtd::testing::RunBinary(
      "neuron-rtd", {"--sim", "inf1.xlarge", "-g", address(), "--hugepages", "16", "doctor"});
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("ok    devices"), HasSubstr("0000:00:1f.0 (simulated)"),
                             HasSubstr("ok    huge pages            16 wanted"),
                             HasSubstr("ok    socket"), Not(HasSubstr("FAIL"))));
  EXPECT_FALSE(std::filesystem::exists(SocketPath()));
}

TEST_F(StartTest, TheDoctorNamesTheCauseAndTheCommandThatMendsIt) {
  NRTD_REQUIRE_HUGE_PAGES(kTestHugePages);
  const std::vector<std::string> lock = {"--lock-directory", File("infa")};
  daemon_ = std::make_unique<DaemonProcess>(Beside(address(), "inf1.xlarge", lock));
  ASSERT_TRUE(daemon().AwaitListening());
  const Finished run = ::nrtd::testing::RunBinary(
      "neuron-rtd", {"--sim", "inf1.xlarge", "-g", address(), "--hugepages", "60000",
                     "--lock-directory", File("infa"), "doctor"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.out,
              AllOf(HasSubstr(fmt::format("FAIL  device locks          0000:00:1f.0 belongs to the "
                                          "daemon with pid {0}; stop it: kill {0}",
                                          daemon().pid())),
                    HasSubstr("FAIL  huge pages            Attempt to preallocate 60000"),
                    HasSubstr("run: sysctl -w vm.nr_hugepages="),
                    HasSubstr("FAIL  socket                a daemon listens on")));
}

}  // namespace
}  // namespace nrtd::integration
