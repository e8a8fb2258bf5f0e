// SPDX-License-Identifier: Apache-2.0
#include "scheduler/core_allocation.h"

#include <ostream>
#include <string>

#include <gtest/gtest.h>

namespace nrtd::scheduler {

void PrintTo(const CoreRun& run, std::ostream* out) {
  *out << run.first << "+" << run.count;
}

namespace {

// "..xx" : free, free, taken, taken.
std::vector<bool> Snapshot(const std::string& picture) {
  std::vector<bool> taken;
  for (char c : picture) taken.push_back(c == 'x');
  return taken;
}

TEST(CoreAllocation, TheLargestFreeRunIsTheFirstOfTheLongest) {
  struct Case {
    std::string taken;
    CoreRun expected;
  };
  const Case cases[] = {
      {"", {0, 0}},     {"x", {0, 0}},         {"xxxx", {0, 0}},     {".", {0, 1}},
      {"....", {0, 4}}, {"x...", {1, 3}},      {"...x", {0, 3}},     {"..x..", {0, 2}},
      {".x..", {2, 2}}, {"..x...x..", {3, 3}}, {"x.x.x.x.", {1, 1}}, {"xxx.", {3, 1}},
  };
  for (const Case& c : cases) EXPECT_EQ(LargestFreeRun(Snapshot(c.taken)), c.expected) << c.taken;
}

TEST(CoreAllocation, ChosenCoresComeFromTheShortestRunThatHoldsThem) {
  struct Case {
    std::string taken;
    uint32_t count;
    std::optional<CoreRun> expected;
  };
  const Case cases[] = {
      {"....", 1, CoreRun{0, 1}},
      {"....", 4, CoreRun{0, 4}},
      {"....", 5, std::nullopt},
      {"xxxx", 1, std::nullopt},
      {"", 1, std::nullopt},
      {"....x.", 1, CoreRun{5, 1}},     // the long run stays whole
      {"....x..x", 2, CoreRun{5, 2}},   // exact
      {"....x..x.", 2, CoreRun{5, 2}},  // the shorter one is too short
      {"..x..", 2, CoreRun{0, 2}},      // equally good: the first
      {"..x..", 3, std::nullopt},       // four are free, but not in a row
      {"...x....x..", 3, CoreRun{0, 3}},
      {"...x....x..", 4, CoreRun{4, 4}},
  };
  for (const Case& c : cases)
    EXPECT_EQ(ChooseCores(Snapshot(c.taken), c.count), c.expected) << c.taken << " " << c.count;
}

TEST(CoreAllocation, EveryChoiceIsFreeAndInARowForEverySnapshotOfEightCores) {
  for (uint32_t bits = 0; bits < 256; ++bits) {
    std::vector<bool> taken;
    for (uint32_t i = 0; i < 8; ++i) taken.push_back((bits >> i & 1) != 0);
    const uint32_t largest = LargestFreeRun(taken).count;
    for (uint32_t count = 1; count <= 8; ++count) {
      const auto run = ChooseCores(taken, count);
      ASSERT_EQ(run.has_value(), count <= largest) << bits << " " << count;
      if (!run) continue;
      ASSERT_EQ(run->count, count);
      for (uint32_t i = run->first; i < run->first + count; ++i) ASSERT_FALSE(taken.at(i));
    }
  }
}

TEST(CoreAllocation, FreeCoresAreCountedOverAllRuns) {
  EXPECT_EQ(FreeCores(Snapshot("..x.x")), 3U);
  EXPECT_EQ(FreeCores(Snapshot("xx")), 0U);
  EXPECT_EQ(FreeCores({}), 0U);
}

}  // namespace
}  // namespace nrtd::scheduler
