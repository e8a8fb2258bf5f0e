// SPDX-License-Identifier: Apache-2.0
#include "runtime/ledger/ledger.h"

#include <fstream>
#include <iterator>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/must.h"

namespace nrtd::runtime {
namespace {

using ::testing::HasSubstr;

Limits SmallLimits() {
  Limits limits;
  limits.per_client.fill(4);
  limits.total.fill(6);
  return limits;
}

TEST(LedgerTest, AClientHoldsNoMoreThanItMay) {
  Ledger ledger(SmallLimits());
  const auto account = ledger.Account(7, "pid 7 uid 0");
  Charge three = Must(account->Take(Holding::kMappings, 3));
  const auto refused = account->Take(Holding::kMappings, 2);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kResource);
  EXPECT_THAT(refused.error().text, HasSubstr("pid 7 uid 0 has 3, a client may have 4"));
  EXPECT_THAT(refused.error().text, HasSubstr("--client-limit mappings="));
  EXPECT_EQ(account->refusals(), 1U);
  EXPECT_EQ(account->counters().Of(Holding::kMappings), 3U);
  EXPECT_TRUE(account->Take(Holding::kMappings, 1));
}

TEST(LedgerTest, AllClientsTogetherHoldNoMoreThanTheTotal) {
  Ledger ledger(SmallLimits());
  const auto first = ledger.Account(1, "first");
  const auto second = ledger.Account(2, "second");
  Charge four = Must(first->Take(Holding::kCookies, 4));
  const auto refused = second->Take(Holding::kCookies, 3);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text, HasSubstr("--total-limit cookies="));
  // What was refused is not held.
  EXPECT_EQ(second->counters().Of(Holding::kCookies), 0U);
  EXPECT_TRUE(second->Take(Holding::kCookies, 2));
}

TEST(LedgerTest, WhatGoesGoesFromTheAccount) {
  Ledger ledger(SmallLimits());
  const auto account = ledger.Account(1, "client");
  {
    Charge charge = Must(account->Take(Holding::kCalls, 4));
    Charge moved = std::move(charge);
    EXPECT_EQ(account->counters().Of(Holding::kCalls), 4U);
    Must(moved.Resize(1));
    EXPECT_EQ(ledger.totals().Of(Holding::kCalls), 1U);
    EXPECT_FALSE(moved.Resize(5));
    EXPECT_EQ(moved.amount(), 1U);
  }
  EXPECT_EQ(account->counters().Of(Holding::kCalls), 0U);
  EXPECT_EQ(ledger.totals().Of(Holding::kCalls), 0U);
}

TEST(LedgerTest, AnAccountIsKeptByItsCharges) {
  Ledger ledger(SmallLimits());
  Charge charge = Must(ledger.Account(1, "client")->Take(Holding::kMappings));
  ASSERT_EQ(ledger.List().size(), 1U);
  EXPECT_EQ(ledger.Account(1, "another name")->name(), "client");
  charge.Release();
  EXPECT_TRUE(ledger.List().empty());
}

TEST(LedgerTest, ALimitHoldsWhenThreadsTakeAtOnce) {
  Limits limits = SmallLimits();
  limits.per_client.fill(1000);
  limits.total.fill(1000);
  Ledger ledger(limits);
  const auto account = ledger.Account(1, "client");
  std::vector<std::vector<Charge>> held(4);
  std::vector<std::thread> threads;
  for (auto& mine : held) {
    threads.emplace_back([&] {
      for (int i = 0; i < 400; ++i) {
        if (auto charge = account->Take(Holding::kCookies)) mine.push_back(std::move(*charge));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  size_t count = 0;
  for (const auto& mine : held) count += mine.size();
  EXPECT_EQ(count, 1000U);
  held.clear();
  EXPECT_EQ(ledger.totals().Of(Holding::kCookies), 0U);
}

TEST(LedgerTest, WhatCannotBeRefusedIsCountedBeyondTheLimit) {
  Ledger ledger(SmallLimits());
  const auto account = ledger.Account(1, "client");
  Charge charge = Must(account->Take(Holding::kArrivingBytes, 0));
  charge.Set(5);
  EXPECT_TRUE(account->IsOver(Holding::kArrivingBytes));
  EXPECT_FALSE(ledger.IsOver(Holding::kArrivingBytes));
  charge.Set(7);
  EXPECT_TRUE(ledger.IsOver(Holding::kArrivingBytes));
  charge.Set(4);
  EXPECT_FALSE(account->IsOver(Holding::kArrivingBytes));
  charge.Release();
  EXPECT_EQ(ledger.totals().Of(Holding::kArrivingBytes), 0U);
}

TEST(LedgerTest, AMessageMayBeAsLargeAsALoadedNetworkNeedsUpToTheTotal) {
  Limits limits = SmallLimits();
  limits.per_client.fill(kMiB);
  limits.total.fill(4 * kMiB);
  Ledger ledger(limits);
  ledger.RaiseMessageFloor(3 * kMiB);
  ledger.RaiseMessageFloor(10);  // another network; the first one may still be there
  EXPECT_EQ(ledger.PerClient(Holding::kMessageBytes), 3 * kMiB + 64 * kKiB);
  EXPECT_EQ(ledger.PerClient(Holding::kArrivingBytes), 4 * kMiB);
  EXPECT_EQ(ledger.PerClient(Holding::kMappedBytes), kMiB);
  EXPECT_TRUE(ledger.Account(1, "client")->Take(Holding::kMessageBytes, 3 * kMiB));
  ledger.RaiseMessageFloor(kUnlimited);
  EXPECT_EQ(ledger.PerClient(Holding::kMessageBytes), 4 * kMiB);
}

TEST(LedgerTest, MemoryThatGoesIsReported) {
  Limits limits = SmallLimits();
  limits.per_client.fill(kUnlimited);
  limits.total.fill(kUnlimited);
  Ledger ledger(limits);
  int reported = 0;
  ledger.SetOnFreed([&] { ++reported; });
  const auto account = ledger.Account(1, "client");
  Must(account->Take(Holding::kMessageBytes, Ledger::kLargeBlock - 1)).Release();
  Must(account->Take(Holding::kMappedBytes, Ledger::kLargeBlock)).Release();
  EXPECT_EQ(reported, 0);
  Must(account->Take(Holding::kMessageBytes, Ledger::kLargeBlock)).Release();
  Must(account->Take(Holding::kNetworkBytes, Ledger::kLargeBlock)).Release();
  EXPECT_EQ(reported, 2);
}

TEST(LimitsTest, MemoryForClientsAddsUpToLessThanTheCgroupGives) {
  SystemRoom room;
  room.memory_bytes = 512 * kMiB;
  const Limits limits = DefaultLimits(room);
  const uint64_t sum = limits.Total(Holding::kMessageBytes) +
                       limits.Total(Holding::kArrivingBytes) +
                       limits.Total(Holding::kNetworkBytes) + limits.Total(Holding::kMappedBytes);
  EXPECT_LE(sum, ClientMemory(room) * 15 / 16);
  EXPECT_LE(ClientMemory(room) + kOwnMemory, room.memory_bytes);
  for (size_t i = 0; i < kHoldings; ++i) EXPECT_LE(limits.per_client[i], limits.total[i]);
}

TEST(LimitsTest, CountsFollowWhatTheSystemGives) {
  SystemRoom room;
  room.descriptors = 400;
  room.map_entries = 200;
  room.threads = 60;
  const Limits limits = DefaultLimits(room);
  EXPECT_EQ(limits.Total(Holding::kConnections), 100U);
  EXPECT_EQ(limits.PerClient(Holding::kConnections), 100U);
  EXPECT_EQ(limits.Total(Holding::kMappings), 50U);
  EXPECT_EQ(CallThreadLimit(room), 20U);
}

// "256", "1,024", "M/16", "all": as docs/limits.md writes an amount of M bytes or of nothing.
std::string Written(uint64_t amount, uint64_t m) {
  if (amount == kUnlimited) return "all";
  for (const uint64_t sixteenths : {1, 2, 8, 9}) {
    if (amount != m / 16 * sixteenths) continue;
    const bool reduced = sixteenths != 9;
    return reduced ? fmt::format("M/{}", 16 / sixteenths) : "9/16 M";
  }
  std::string text = fmt::to_string(amount);
  if (text.size() > 3) text.insert(text.size() - 3, ",");
  return text;
}

TEST(LimitsTest, TheDocumentHasTheSameFigures) {
  std::ifstream file(std::string(NRTD_SOURCE_DIR) + "/docs/limits.md");
  const std::string document{std::istreambuf_iterator<char>(file), {}};
  SystemRoom room;
  room.memory_bytes = 16 * kGiB + kOwnMemory;
  const uint64_t m = ClientMemory(room);
  const Limits limits = DefaultLimits(room);
  for (size_t i = 0; i < kHoldings; ++i) {
    const auto holding = static_cast<Holding>(i);
    const size_t begin = document.find(fmt::format("\n| `{}`", HoldingName(holding)));
    ASSERT_NE(begin, std::string::npos) << HoldingName(holding);
    const std::string row = document.substr(begin + 1, document.find('\n', begin + 1) - begin);
    EXPECT_THAT(row, HasSubstr(fmt::format(" | {} | {}", Written(limits.PerClient(holding), m),
                                           Written(limits.Total(holding), m))));
  }
}

TEST(LimitsTest, AnOptionSetsOneLimit) {
  Limits limits = DefaultLimits({});
  Must(SetLimit(limits.per_client, "message-bytes=16MiB"));
  EXPECT_EQ(limits.PerClient(Holding::kMessageBytes), 16 * kMiB);
  Must(SetLimit(limits.total, "mappings=64"));
  EXPECT_EQ(limits.Total(Holding::kMappings), 64U);
  for (const char* wrong : {"", "mappings", "mappings=", "mappings=many", "mappings=-1", "walls=1",
                            "message-bytes=99999999999GiB"}) {
    EXPECT_FALSE(SetLimit(limits.total, wrong)) << wrong;
  }
  EXPECT_THAT(SetLimit(limits.total, "walls=1").error().text, HasSubstr("connections, sessions"));
}

TEST(LimitsTest, TheSystemIsReadAsItIs) {
  const SystemRoom room = ReadSystemRoom();
  EXPECT_GT(room.memory_bytes, 64 * kMiB);
  EXPECT_NE(room.memory_bytes, kUnlimited);
  EXPECT_GE(room.descriptors, 64U);
}

}  // namespace
}  // namespace nrtd::runtime
