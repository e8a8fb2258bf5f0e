// SPDX-License-Identifier: Apache-2.0
#include "runtime/session/session_table.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

namespace nrtd::runtime {
namespace {

TEST(SessionTableTest, ASessionIsOpenUntilItIsClosedOnce) {
  SessionTable table;
  const SessionId id = table.Open();
  EXPECT_NE(id, 0U);
  EXPECT_TRUE(table.Contains(id));
  EXPECT_TRUE(table.Close(id));
  EXPECT_FALSE(table.Contains(id));
  EXPECT_FALSE(table.Close(id));
  EXPECT_FALSE(table.Contains(0));
}

TEST(SessionTableTest, HandlesAreNeverUsedAgain) {
  SessionTable table;
  const SessionId first = table.Open();
  table.Close(first);
  EXPECT_GT(table.Open(), first);
}

TEST(SessionTableTest, WhatTheClientSaysIsListedUnderItsOwnHandle) {
  SessionTable table;
  const SessionId probe = table.Open();
  const SessionId client = table.Open();
  SessionInfo info;
  info.id = 4711;  // what a client claims is not believed
  info.framework = "TensorFlow";
  info.framework_version = {"1.15.5", 1, 15};
  table.Describe(client, info);
  const auto list = table.List();
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[0].id, probe);
  EXPECT_EQ(list[0].framework, "");
  EXPECT_EQ(list[1].id, client);
  EXPECT_EQ(list[1].framework, "TensorFlow");
  EXPECT_EQ(list[1].framework_version.minor, 15U);
}

TEST(SessionTableTest, DescribingAClosedSessionDoesNotOpenIt) {
  SessionTable table;
  const SessionId id = table.Open();
  table.Close(id);
  table.Describe(id, {});
  EXPECT_FALSE(table.Contains(id));
  EXPECT_TRUE(table.List().empty());
}

TEST(SessionTableTest, OneOfManyThreadsClosesASession) {
  SessionTable table;
  for (int i = 0; i < 50; ++i) {
    const SessionId id = table.Open();
    std::atomic<int> closed{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) threads.emplace_back([&] { closed += table.Close(id) ? 1 : 0; });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(closed, 1);
  }
}

}  // namespace
}  // namespace nrtd::runtime
