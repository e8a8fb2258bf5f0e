// SPDX-License-Identifier: Apache-2.0
//
// A client that asks without end waits; nobody else does, and no inference.
#include <chrono>
#include <vector>

#include "test/hostile/hostile_test.h"
#include "test/hostile/raw_http2.h"

namespace nrtd::hostile {
namespace {

class RateTest : public HostileTest {
 protected:
  void SetUp() override {
    HostileTest::SetUp();
    if (IsSkipped()) return;
    EXPECT_EQ(daemon_->Stop(), 0);
    StartLimited({"--call-rate", "40"});
  }
};

// Forty calls more than the burst of five seconds take a second.
TEST_F(RateTest, BeyondItsBurstAClientsCallsWait) {
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 240; ++i) EXPECT_THAT(client().ListNetworks().status(), IsOk());
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(900));
}

// A thousand of them would take 25 s.
TEST_F(RateTest, InferencesDoNotWait) {
  const uint32_t network = Load({.neff = digits_neff()});
  for (int i = 0; i < 200; ++i) EXPECT_THAT(client().ListNetworks().status(), IsOk());
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 1000; ++i) ExpectReads(network);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(15));
}

TEST_F(RateTest, ConnectionsBeyondTheRateAreServedLaterAndMayGoBefore) {
  std::vector<Result<RawHttp2>> connections;
  for (int i = 0; i < 60; ++i) connections.push_back(RawHttp2::Connect(SocketPath()));
  RtdClient last(address());
  connections.erase(connections.begin(), connections.begin() + 40);
  EXPECT_THAT(last.ListNetworks().status(), IsOk());
}

}  // namespace
}  // namespace nrtd::hostile
