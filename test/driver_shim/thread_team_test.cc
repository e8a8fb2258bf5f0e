// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/thread_team.h"

#include <set>

#include <gtest/gtest.h>

#include "base/mutex.h"

namespace nrtd::sim {
namespace {

TEST(ThreadTeamTest, EveryPartRunsOnceOnAThreadOfItsOwn) {
  for (unsigned size : {1U, 2U, 4U}) {
    ThreadTeam team(size);
    for (int round = 0; round < 200; ++round) {
      Mutex mutex;
      std::multiset<unsigned> parts;
      std::set<std::thread::id> threads;
      team.Run([&](unsigned part) {
        MutexLock lock(mutex);
        parts.insert(part);
        threads.insert(std::this_thread::get_id());
      });
      ASSERT_EQ(parts.size(), size);
      ASSERT_EQ(std::set(parts.begin(), parts.end()).size(), size);
      ASSERT_EQ(threads.size(), size);
      if (round % 3 == 0) team.Rest();
    }
  }
}

// What parts have written is there when Run() returns, without locks.
TEST(ThreadTeamTest, WhatPartsWriteIsThereAfterwards) {
  ThreadTeam team(3);
  std::vector<int> sums(3, 0);
  for (int round = 1; round <= 1000; ++round) {
    team.Run([&](unsigned part) { sums[part] += round; });
    ASSERT_EQ(sums[0], round * (round + 1) / 2);
    ASSERT_EQ(sums[1], sums[0]);
    ASSERT_EQ(sums[2], sums[0]);
    team.Rest();
  }
}

TEST(ThreadTeamTest, ATeamThatNeverWorkedEnds) {
  const ThreadTeam team(8);
  EXPECT_EQ(team.size(), 8U);
}

TEST(ThreadTeamTest, CallersMayChange) {
  ThreadTeam team(2);
  int sum = 0;
  for (int i = 0; i < 50; ++i) {
    std::thread caller([&] {
      team.Run([&](unsigned part) {
        if (part == 1) ++sum;
      });
      team.Rest();
    });
    caller.join();
  }
  EXPECT_EQ(sum, 50);
}

}  // namespace
}  // namespace nrtd::sim
