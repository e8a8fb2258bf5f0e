// SPDX-License-Identifier: Apache-2.0
//
// How the daemon comes up, refuses to, and goes.
#include <csignal>
#include <filesystem>

#include "base/file.h"
#include "test/integration/daemon_test.h"

namespace nrtd::integration {
namespace {

using ::testing::HasSubstr;

class LifecycleTest : public DaemonTest {
 protected:
  uint64_t AvailableHugePages() { return Must(memory::ReadHugePageCounts()).Available(); }
};

TEST_F(LifecycleTest, ASecondDaemonOnTheSameSocketIsRefused) {
  NRTD_REQUIRE_HUGE_PAGES(kTestHugePages);
  const uint32_t network = Load({.neff = digits_neff()});
  DaemonProcess second(Arguments());
  EXPECT_EQ(second.AwaitExit(), 1);
  EXPECT_THAT(second.Log(), HasSubstr("somebody listens on " + SocketPath() + " already"));
  ExpectReads(network);
  EXPECT_EQ(RtdClient(address()).Health().pid(), daemon().pid());
}

TEST_F(LifecycleTest, ASocketThatACrashLeftBehindIsReplaced) {
  client_.reset();
  daemon().Signal(SIGKILL);
  EXPECT_EQ(daemon().AwaitExit(), -1);
  ASSERT_TRUE(std::filesystem::is_socket(SocketPath()));
  StartDaemon();
  ExpectReads(Load({.neff = digits_neff()}));
}

TEST_F(LifecycleTest, WhatIsNoSocketIsLeftAlone) {
  client_.reset();
  ASSERT_EQ(daemon().Stop(), 0);
  WriteText(SocketPath(), "precious");
  DaemonProcess second(Arguments());
  EXPECT_EQ(second.AwaitExit(), 1);
  EXPECT_THAT(second.Log(), HasSubstr("cannot listen on " + address()));
  EXPECT_EQ(Must(ReadTextFile(SocketPath())), "precious");
  daemon_.reset();
}

// Alone on the machine (alone.cmake): other daemons take huge pages too.
TEST_F(LifecycleTest, SigtermGivesBackEverything) {
  for (const int signal : {SIGTERM, SIGINT}) {
    client_.reset();
    daemon_.reset();
    const uint64_t before = AvailableHugePages();
    StartDaemon();
    ASSERT_TRUE(daemon().AwaitLog("pages of 2 MiB are faulted in"));
    EXPECT_EQ(AvailableHugePages(), before - kTestHugePages);
    const uint32_t network = Load({.neff = SlowNeff(), .timeout_s = 60});
    ASSERT_THAT(client().Post(SlowInput(network)), IsOk());
    const auto session = client().OpenSession();
    session->Read();
    daemon().Signal(signal);
    EXPECT_EQ(daemon().AwaitExit(), 0);
    EXPECT_FALSE(std::filesystem::exists(SocketPath()));
    EXPECT_EQ(AvailableHugePages(), before);
  }
  daemon_.reset();
}

// gRPC's own shutdown would wait up to 10 s for a thread that polls after a large message. A
// time-out, not a measure of speed: nothing is under way, so the end takes milliseconds.
TEST_F(LifecycleTest, TheEndDoesNotWaitForGrpcAfterLargeMessages) {
  constexpr Duration kFarBelow = std::chrono::seconds(7);
  const uint32_t network = Load({.neff = SlowNeff(), .timeout_s = 60});
  for (int i = 0; i < 3; ++i) ASSERT_THAT(client().Infer(SlowInput(network)), IsOk());
  client_.reset();
  SteadyClock clock;
  const TimePoint start = clock.Now();
  EXPECT_EQ(daemon().Stop(), 0);
  EXPECT_LT(clock.Now() - start, kFarBelow);
  daemon_.reset();
}

TEST_F(LifecycleTest, TheLogSaysWhatIsServedAndThatItIsSimulated) {
  const std::string log = daemon().Log();
  EXPECT_THAT(log, HasSubstr("Server listening on " + address()));
  EXPECT_THAT(log, HasSubstr("Initialized Inferentia: "));
  EXPECT_THAT(log, HasSubstr("SIMULATED inf1.xlarge"));
  const v1::HealthResponse health = client().Health();
  EXPECT_EQ(health.state(), "ok");
  EXPECT_EQ(health.address(), address());
  EXPECT_TRUE(health.simulated());
}

// Needs no huge pages, so it is not skipped without.

}  // namespace
}  // namespace nrtd::integration
