// SPDX-License-Identifier: Apache-2.0
#include "runtime/ledger/rate_limiter.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nrtd::runtime {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;

constexpr scheduler::ProcessKey kFirst = 1;
constexpr scheduler::ProcessKey kSecond = 2;
constexpr int kBurst = static_cast<int>(10 * RateLimiter::kBurstSeconds);

class RateLimiterTest : public testing::Test {
 protected:
  using Verdict = RateLimiter::Verdict;
  Verdict Call(scheduler::ProcessKey client, int name) {
    return limiter_.AdmitCall(client, [this, name] { gone_on_.push_back(name); });
  }
  RateLimiter::Ticket Connect(scheduler::ProcessKey client, int name) {
    return limiter_.AdmitConnection(client, [this, name] { gone_on_.push_back(name); });
  }
  bool Ask(scheduler::ProcessKey client, int name) { return Call(client, name) == Verdict::kGoOn; }
  void AskForAll(scheduler::ProcessKey client) {
    for (int i = 0; i < kBurst; ++i) EXPECT_TRUE(Ask(client, 0));
  }
  void Pass(Duration time) {
    clock_.Advance(time);
    limiter_.GoOn();
  }

  boost::asio::io_context io_;
  ManualClock clock_;
  RateLimiter limiter_{io_, clock_, 10};
  std::vector<int> gone_on_;
};

TEST_F(RateLimiterTest, BeyondItsBurstAClientWaitsAndGoesOnInOrder) {
  AskForAll(kFirst);
  EXPECT_FALSE(Ask(kFirst, 1));
  EXPECT_FALSE(Ask(kFirst, 2));
  Pass(milliseconds(1));
  EXPECT_THAT(gone_on_, ElementsAre(1));
  Pass(milliseconds(98));
  EXPECT_THAT(gone_on_, ElementsAre(1));
  Pass(milliseconds(2));
  EXPECT_THAT(gone_on_, ElementsAre(1, 2));
}

TEST_F(RateLimiterTest, OthersDoNotWaitForIt) {
  AskForAll(kFirst);
  EXPECT_FALSE(Ask(kFirst, 1));
  EXPECT_TRUE(Ask(kSecond, 2));
}

TEST_F(RateLimiterTest, NobodyGoesBeforeThoseThatWait) {
  AskForAll(kFirst);
  EXPECT_FALSE(Ask(kFirst, 1));
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_FALSE(Ask(kFirst, 2));
  limiter_.GoOn();
  EXPECT_THAT(gone_on_, ElementsAre(1, 2));
}

TEST_F(RateLimiterTest, WhatCostsMoreIsPaidForAfterwards) {
  AskForAll(kFirst);
  clock_.Advance(milliseconds(101));
  EXPECT_EQ(Connect(kFirst, 0), 0U);
  EXPECT_FALSE(Ask(kFirst, 1));
  Pass(milliseconds(298));
  EXPECT_THAT(gone_on_, ElementsAre());
  Pass(milliseconds(2));
  EXPECT_THAT(gone_on_, ElementsAre(1));
}

TEST_F(RateLimiterTest, ABucketHoldsNoMoreThanABurst) {
  AskForAll(kFirst);
  clock_.Advance(std::chrono::hours(1));
  AskForAll(kFirst);
  EXPECT_FALSE(Ask(kFirst, 1));
}

TEST_F(RateLimiterTest, FewCallsWaitAndTheRestIsRefusedAndCosts) {
  AskForAll(kFirst);
  for (size_t i = 0; i < RateLimiter::kMostCalls; ++i) EXPECT_EQ(Call(kFirst, 1), Verdict::kWaits);
  for (int i = 1; i < kBurst; ++i) EXPECT_EQ(Call(kFirst, 2), Verdict::kRefused);
  EXPECT_EQ(Call(kFirst, 2), Verdict::kCutOff);
  EXPECT_EQ(Call(kFirst, 2), Verdict::kCutOff);
  // Its debt is no larger for that.
  Pass(std::chrono::seconds(static_cast<int>(RateLimiter::kBurstSeconds)) + milliseconds(1));
  EXPECT_THAT(gone_on_, ElementsAre(1));
}

TEST_F(RateLimiterTest, ACallThatMayNotWaitIsRefused) {
  AskForAll(kFirst);
  EXPECT_EQ(limiter_.AdmitCall(kFirst, nullptr), Verdict::kRefused);
}

TEST_F(RateLimiterTest, SoManyCallsWaitOfAllClientsTogether) {
  const size_t clients = RateLimiter::kMostCallsTogether / RateLimiter::kMostCalls;
  for (size_t client = 1; client <= clients; ++client) {
    AskForAll(client);
    for (size_t i = 0; i < RateLimiter::kMostCalls; ++i)
      EXPECT_EQ(Call(client, 1), Verdict::kWaits);
  }
  AskForAll(clients + 1);
  EXPECT_EQ(Call(clients + 1, 1), Verdict::kRefused);
  Pass(milliseconds(1));
  EXPECT_EQ(gone_on_.size(), clients);
  EXPECT_EQ(Call(clients + 1, 1), Verdict::kWaits);
}

// Or those that are gone would hold up the next one.
TEST_F(RateLimiterTest, AConnectionThatHasGoneCostsNothing) {
  AskForAll(kFirst);
  std::vector<RateLimiter::Ticket> tickets;
  for (int i = 0; i < 400; ++i) tickets.push_back(Connect(kFirst, 1));
  EXPECT_NE(tickets[0], 0U);
  Connect(kFirst, 2);
  for (const auto ticket : tickets) limiter_.Forget(kFirst, ticket);
  Pass(milliseconds(1));
  EXPECT_THAT(gone_on_, ElementsAre(2));
  limiter_.Forget(kFirst, tickets[0]);
  limiter_.Forget(kSecond, tickets[0]);
}

TEST_F(RateLimiterTest, AtTheEndEverythingGoesOn) {
  AskForAll(kFirst);
  EXPECT_FALSE(Ask(kFirst, 1));
  limiter_.Open();
  EXPECT_THAT(gone_on_, ElementsAre(1));
  EXPECT_TRUE(Ask(kFirst, 2));
}

TEST_F(RateLimiterTest, ClientsThatComeAndGoLeaveNothing) {
  for (scheduler::ProcessKey client = 1; client <= 100'000; ++client) {
    clock_.Advance(milliseconds(100));
    EXPECT_TRUE(Ask(client, 0));
  }
  EXPECT_LE(limiter_.buckets(), 2048U);
}

TEST_F(RateLimiterTest, NoRateIsNoLimit) {
  RateLimiter any(io_, clock_, 0);
  for (int i = 0; i < 10 * kBurst; ++i) EXPECT_TRUE(any.AdmitCall(kFirst, [] {}) == Verdict::kGoOn);
}

TEST_F(RateLimiterTest, TheTimerLetsGoOnByItself) {
  SteadyClock clock;
  RateLimiter limiter(io_, clock, 1000);
  int waited = 0;
  int gone_on = 0;
  // As many as it takes: tokens come meanwhile.
  while (waited < 20)
    waited += limiter.AdmitCall(kFirst, [&] { ++gone_on; }) == Verdict::kWaits ? 1 : 0;
  while (gone_on < waited) io_.run_one();
}

}  // namespace
}  // namespace nrtd::runtime
