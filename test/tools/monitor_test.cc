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
  constexpr int kWarmUp = 50;
  constexpr int kRounds = 300;
  // 300 rounds of the smallest connection would take more.
  constexpr uint64_t kGrowth = 512 * kKiB;
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
  EXPECT_LE(Threads(), threads + 8);  // gRPC has as many as it likes, but not one a round
}

}  // namespace
}  // namespace nrtd::client
