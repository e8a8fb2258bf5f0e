// SPDX-License-Identifier: Apache-2.0
#include "scheduler/group_table.h"

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nrtd::scheduler {
namespace {

constexpr NetworkId kNetwork = 10'001;
constexpr NetworkId kOther = 10'002;

class GroupTableTest : public ::testing::Test {
 protected:
  GroupInfo Explicit(uint32_t cores, SessionId session = 0) {
    return table_.Create(cores, /*implicit=*/false, {session}).value();
  }
  GroupInfo Implicit(uint32_t cores) { return table_.Create(cores, /*implicit=*/true).value(); }

  GroupTable table_{4};
};

TEST_F(GroupTableTest, TheFirstGroupIsOneAndHandlesAreNeverUsedAgain) {
  EXPECT_EQ(Explicit(1).id, 1U);
  EXPECT_EQ(Explicit(1).id, 2U);
  ASSERT_TRUE(table_.Destroy(1));
  ASSERT_TRUE(table_.Destroy(2));
  EXPECT_EQ(Explicit(1).id, 3U);
}

TEST_F(GroupTableTest, AGroupRemembersWhatItWasMadeWith) {
  const GroupInfo group = Explicit(3, 77);
  EXPECT_EQ(group.cores, (CoreRun{0, 3}));
  EXPECT_EQ(group.owner.session, 77U);
  EXPECT_FALSE(group.implicit);
  EXPECT_EQ(group.networks, 0U);
  EXPECT_EQ(group.running, 0U);
  EXPECT_EQ(table_.Find(group.id)->cores, group.cores);
}

TEST_F(GroupTableTest, NoCountMeansTheLargestFreeRun) {
  const GroupInfo first = Explicit(1);
  EXPECT_EQ(Explicit(0).cores, (CoreRun{1, 3}));
  ASSERT_TRUE(table_.Destroy(first.id));
  EXPECT_EQ(Explicit(0).cores, (CoreRun{0, 1}));
}

TEST_F(GroupTableTest, TooManyCoresAreRefusedInTheDocumentedWords) {
  const auto refused = table_.Create(5, false);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kResourceNc);
  EXPECT_EQ(refused.error().text,
            "Requested number of NCs: 5 exceeds the total available number: 4");
}

TEST_F(GroupTableTest, AvailableIsTheLongestRunNotTheSumOfFreeCores) {
  const GroupInfo a = Explicit(1);
  Explicit(1);
  const GroupInfo c = Explicit(1);
  ASSERT_TRUE(table_.Destroy(a.id));
  ASSERT_TRUE(table_.Destroy(c.id));  // free: 0, 2, 3
  const auto refused = table_.Create(3, false);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().text,
            "Requested number of NCs: 3 exceeds the total available number: 2");
}

TEST_F(GroupTableTest, WithheldCoresAreNobodysUntilTheyAreProvided) {
  table_.Withhold({1, 2});
  EXPECT_EQ(Explicit(0).cores, (CoreRun{0, 1}));
  EXPECT_EQ(Explicit(1).cores, (CoreRun{3, 1}));
  EXPECT_FALSE(table_.Create(1, false));
  table_.Provide({1, 2});
  EXPECT_EQ(Explicit(2).cores, (CoreRun{1, 2}));
}

TEST_F(GroupTableTest, NoCountIsRefusedWhenNothingIsFree) {
  Explicit(4);
  const auto refused = table_.Create(0, false);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kResourceNc);
  EXPECT_EQ(refused.error().text,
            "Requested number of NCs: 1 exceeds the total available number: 0");
}

TEST_F(GroupTableTest, ARefusalTakesNoCores) {
  ASSERT_FALSE(table_.Create(5, false));
  EXPECT_EQ(Explicit(4).cores.count, 4U);
}

TEST_F(GroupTableTest, DestroyGivesTheCoresBackOnce) {
  const GroupInfo group = Explicit(4);
  ASSERT_TRUE(table_.Destroy(group.id));
  const auto again = table_.Destroy(group.id);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Nerr::kInvalidHandle);
  EXPECT_EQ(again.error().text, "Failed to find NeuronCore group: 1");
  EXPECT_EQ(Explicit(4).cores.count, 4U);
}

TEST_F(GroupTableTest, AGroupThatHoldsNetworksCannotBeDestroyed) {
  const GroupInfo group = Explicit(2);
  EXPECT_EQ(table_.Join(group.id)->networks, 1U);
  EXPECT_EQ(table_.Join(group.id)->networks, 2U);
  for (int left = 2; left > 0; --left) {
    const auto refused = table_.Destroy(group.id);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Nerr::kInvalid);
    EXPECT_THAT(refused.error().text, ::testing::HasSubstr("unload them first"));
    table_.Leave(group.id);
  }
  EXPECT_TRUE(table_.Destroy(group.id));
}

TEST_F(GroupTableTest, AnExplicitGroupOutlivesItsLastNetwork) {
  const GroupInfo group = Explicit(2);
  ASSERT_TRUE(table_.Join(group.id));
  table_.Leave(group.id);
  EXPECT_EQ(table_.Find(group.id)->networks, 0U);
}

TEST_F(GroupTableTest, AnImplicitGroupHoldsItsNetworkFromTheStartAndGoesWithIt) {
  const GroupInfo group = Implicit(2);
  EXPECT_EQ(group.networks, 1U);
  EXPECT_EQ(table_.Destroy(group.id).error().code, Nerr::kInvalid);
  table_.Leave(group.id);
  EXPECT_FALSE(table_.Find(group.id));
  EXPECT_EQ(Explicit(4).cores.count, 4U);
}

TEST_F(GroupTableTest, AnImplicitGroupTakesNoOtherNetwork) {
  const GroupInfo group = Implicit(2);
  const auto refused = table_.Join(group.id);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kInvalid);
  EXPECT_EQ(table_.Find(group.id)->networks, 1U);
}

TEST_F(GroupTableTest, UnknownGroupsAreNamed) {
  EXPECT_EQ(table_.Join(9).error().text, "Failed to find NeuronCore group: 9");
  EXPECT_EQ(table_.Join(0).error().code, Nerr::kInvalidHandle);
  EXPECT_EQ(table_.BeginRunning(9, kNetwork).error().code, Nerr::kInvalidHandle);
  EXPECT_FALSE(table_.Find(9));
  table_.Leave(9);
  table_.EndRunning(9, kNetwork);
}

TEST_F(GroupTableTest, OneNetworkOfAGroupRuns) {
  const GroupInfo group = Explicit(1);
  ASSERT_TRUE(table_.BeginRunning(group.id, kNetwork));
  EXPECT_EQ(table_.Find(group.id)->running, kNetwork);
  EXPECT_TRUE(table_.BeginRunning(group.id, kNetwork));  // it is already
  const auto refused = table_.BeginRunning(group.id, kOther);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kInvalid);
  EXPECT_THAT(refused.error().text, ::testing::HasSubstr("10001"));
  table_.EndRunning(group.id, kOther);  // not the one that runs: nothing happens
  EXPECT_EQ(table_.Find(group.id)->running, kNetwork);
  table_.EndRunning(group.id, kNetwork);
  EXPECT_TRUE(table_.BeginRunning(group.id, kOther));
}

TEST_F(GroupTableTest, TheListIsByRisingHandle) {
  Explicit(1);
  const GroupInfo gone = Explicit(1);
  Explicit(1);
  ASSERT_TRUE(table_.Destroy(gone.id));
  Explicit(1);
  std::vector<GroupId> ids;
  for (const GroupInfo& group : table_.List()) ids.push_back(group.id);
  EXPECT_EQ(ids, (std::vector<GroupId>{1, 3, 4}));
}

TEST_F(GroupTableTest, ThreadsNeverShareACore) {
  GroupTable table(8);
  std::vector<std::thread> threads;
  std::atomic<int> owner[8] = {};
  std::atomic<int> clashes{0};
  for (int t = 1; t <= 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) {
        const auto group = table.Create(2, i % 2 == 0);
        if (!group) continue;
        for (uint32_t c = group->cores.first; c < group->cores.first + 2; ++c)
          if (owner[c].exchange(t) != 0) ++clashes;
        for (uint32_t c = group->cores.first; c < group->cores.first + 2; ++c) owner[c] = 0;
        if (group->implicit) {
          table.Leave(group->id);
        } else if (!table.Destroy(group->id)) {
          ++clashes;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(clashes, 0);
  EXPECT_EQ(table.Create(0, false)->cores.count, 8U);
}

}  // namespace
}  // namespace nrtd::scheduler
