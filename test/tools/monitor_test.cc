// SPDX-License-Identifier: Apache-2.0
//
// What a monitor does all day while its daemon is down.
#include <filesystem>
#include <string>

#include <gtest/gtest.h>
#include <malloc.h>

#include "base/sizes.h"
#include "tools/client/daemon.h"

namespace nrtd::client {
namespace {

size_t EntriesOf(const char* folder) {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
  return count;
}
size_t OpenFiles() {
  return EntriesOf("/proc/self/fd");
}
size_t Threads() {
  return EntriesOf("/proc/self/task");
}
// Bytes that are allocated and not freed; 0 under a sanitizer, which finds leaks by itself.
uint64_t Allocated() {
  return ::mallinfo2().uordblks;
}

TEST(MonitorTest, LeakInAMonitorWhoseDaemonIsDown) {
  // gRPC's threads keep what they have freed for themselves: some 1.8 MiB in all, most of it after
  // 500 rounds, the same after 30,000. Something left behind by each of 2,000 rounds is more than
  // what is allowed for that.
  constexpr int kWarmUp = 500;
  constexpr int kRounds = 2000;
  constexpr uint64_t kGrowth = kMiB;
  constexpr size_t kMoreThreads = 64;  // gRPC has as many as it likes, but not one a round
  uint64_t allocated = 0;
  size_t files = 0;
  size_t threads = 0;
  for (int round = 0; round < kWarmUp + kRounds; ++round) {
    if (round == kWarmUp) {
      allocated = Allocated();
      files = OpenFiles();
      threads = Threads();
    }
    const auto daemon = Daemon::Connect("unix:/nonexistent/neuron.sock");
    ASSERT_FALSE(daemon);
    ASSERT_NE(daemon.error().text.find("/nonexistent/neuron.sock"), std::string::npos)
        << daemon.error().text;
  }
  EXPECT_LT(Allocated(), allocated + kGrowth);
  EXPECT_LE(OpenFiles(), files);
  EXPECT_LE(Threads(), threads + kMoreThreads);
}

}  // namespace
}  // namespace nrtd::client
