// SPDX-License-Identifier: Apache-2.0
#include <thread>

#include "base/sanitized.h"
#include "base/sizes.h"
#include "test/integration/daemon_test.h"

namespace nrtd::integration {
namespace {

// A sanitizer makes a round some ten times slower; that it leaks nothing it proves by itself.
constexpr int kRounds = kSanitized ? 200 : 1000;
// Until every cache, arena and thread that a round needs has been there once.
constexpr int kWarmUp = 50;
// A leak of the smallest thing that a round makes, 2 KiB of it, would show.
constexpr uint64_t kResidentGrowth = 2 * kMiB;
// What so many clients at once, each with a NEFF of 1 MiB, may leave in a daemon that serves
// nothing any more: buffers of connections, blocks too small for a page. (It was 70 to 100 MiB.)
constexpr int kManyClients = 16;
constexpr uint64_t kManyClientsLeave = 8 * kMiB;
// A sanitizer keeps freed memory in its quarantine, so residence says nothing there.
constexpr bool kResidentIsMeaningful = !kSanitized;
// What an idle daemon may take, besides its pool of huge pages.
constexpr uint64_t kIdleResident = 40 * kMiB;

class SoakTest : public DaemonTest {
 protected:
  // One process is many clients here.
  void SetUp() override {
    DaemonTest::SetUp();
    if (IsSkipped()) return;
    RestartDaemon({"--call-rate", "0"});
  }

  struct Footprint {
    Usage usage;
    size_t files = 0;
    uint64_t huge_bytes = 0;
    bool operator==(const Footprint&) const = default;
    friend std::ostream& operator<<(std::ostream& out, const Footprint& footprint) {
      return out << footprint.usage << ", " << footprint.files << " files, " << footprint.huge_bytes
                 << " B of huge pages";
    }
  };
  Footprint ReadFootprint() {
    return {ReadUsage(client()), daemon().OpenFiles(), daemon().StatusBytes("HugetlbPages")};
  }
};

TEST_F(SoakTest, AThousandRoundsOfLoadInferUnloadLeaveEverythingWhereItWas) {
  const auto load = LoadMessages({.neff = digits_neff()});
  Footprint warm;
  uint64_t warm_resident = 0;
  for (int round = 0; round < kRounds; ++round) {
    if (round == kWarmUp) {
      Await("the pool's pages, which are faulted in behind the start", [&] {
        return daemon().StatusBytes("HugetlbPages") == kTestHugePages * memory::kHugePageSize;
      });
      warm = ReadFootprint();
      warm_resident = daemon().StatusBytes("VmRSS");
    }
    const auto loaded = client().Load(load);
    ASSERT_THAT(loaded, IsOk()) << "round " << round;
    ExpectReads(loaded.h_nn().id(), static_cast<size_t>(round) % digits().size());
    ASSERT_THAT(client().Unload(loaded.h_nn().id()), IsOk()) << "round " << round;
  }
  EXPECT_EQ(ReadFootprint(), warm);
  EXPECT_EQ(warm.usage.networks, 0);
  if (!kResidentIsMeaningful) return;
  const uint64_t resident = daemon().StatusBytes("VmRSS");
  EXPECT_LT(resident, warm_resident + kResidentGrowth);
  RecordProperty("resident_growth_bytes",
                 fmt::to_string(static_cast<int64_t>(resident - warm_resident)));
}

TEST_F(SoakTest, WhatManyThreadsFreedGoesBackToTheSystem) {
  if (!kResidentIsMeaningful) GTEST_SKIP() << "a sanitizer keeps freed memory in its quarantine";
  const auto load = LoadMessages({.neff = SlowNeff()});
  const auto round = [&load](RtdClient& who) {
    const auto loaded = who.Load(load);
    if (loaded.status().code() != 0) return false;
    EXPECT_THAT(who.Unload(loaded.h_nn().id()), IsOk());
    return true;
  };
  ASSERT_TRUE(round(client()));
  const uint64_t small = daemon().StatusBytes("RssAnon");
  const size_t files = daemon().OpenFiles();
  std::vector<std::thread> clients;
  for (int i = 0; i < kManyClients; ++i) {
    clients.emplace_back([&] {
      RtdClient own(address());
      // Refused when others have all cores: it was sent all the same.
      for (int j = 0; j < 20; ++j) (void)round(own);
    });
  }
  for (std::thread& each : clients) each.join();
  Await("the end of all connections", [&] { return daemon().OpenFiles() <= files; });
  ASSERT_TRUE(round(client()));
  EXPECT_LT(daemon().StatusBytes("RssAnon"), small + kManyClientsLeave);
}

TEST_F(SoakTest, ClientsThatComeAndGoLeaveNoFilesOpen) {
  size_t warm = 0;
  for (int round = 0; round < 100; ++round) {
    if (round == 10) {
      Await("the last client's end", [&] { return client().ListSessions().sessions().empty(); });
      warm = daemon().OpenFiles();
    }
    RtdClient own(address());
    own.OpenSession()->Read();
    own.GetVersion();
  }
  Await("all clients' end", [&] { return daemon().OpenFiles() <= warm; });
}

TEST_F(SoakTest, AnIdleDaemonTakesLittleMemory) {
  if (!kResidentIsMeaningful) GTEST_SKIP() << "a sanitizer's own memory counts too";
  EXPECT_EQ(client().Health().state(), "ok");
  EXPECT_LT(daemon().StatusBytes("VmRSS"), kIdleResident);
}

}  // namespace
}  // namespace nrtd::integration
