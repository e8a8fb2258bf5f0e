// SPDX-License-Identifier: Apache-2.0
//
// A client that asks without end waits; nobody else does, and no inference.
#include <chrono>
#include <vector>

#include "base/sanitized.h"
#include "test/hostile/child.h"
#include "test/hostile/hostile_test.h"
#include "test/hostile/raw_http2.h"
#include "test/hostile/sparse_memory.h"
#include "test/must.h"

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

// Until the daemon has had enough.
void BeginCalls(RawHttp2& connection, std::string_view method, std::string_view message,
                int count) {
  for (int i = 0; i < count; ++i) {
    const uint32_t stream = connection.OpenStream(method);
    if (stream == 0 || !connection.SendMessage(stream, message, kEndStream)) return;
  }
}
constexpr std::string_view kListNetworks = "/nrtd.v1.Control/ListNetworks";

// What waits for a client's rate belongs to somebody who is there.
TEST_F(RateTest, CallsOfClientsThatHaveGoneHoldNothing) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's own memory counts too";
  for (int i = 0; i < 20; ++i) {
    Child child([this] {
      for (int k = 0; k < 4; ++k) {
        auto connection = RawHttp2::Connect(SocketPath());
        if (connection) BeginCalls(*connection, kListNetworks, "", 250);
      }
    });
  }
  EXPECT_THAT(client().ListNetworks().status(), IsOk());
  EXPECT_LT(daemon().StatusBytes("VmRSS"), 150 * kMiB);
}

TEST_F(RateTest, AMappingThatWaitedGoesWithItsProcess) {
  const SparseMemory memory("/nrtd_rate_test", 1 << 16);
  nrt::shm_map_request request;
  request.set_path(memory.name());
  {
    Child child([&] {
      RawHttp2 connection = Must(RawHttp2::Connect(SocketPath()));
      BeginCalls(connection, kListNetworks, "", 200);
      BeginCalls(connection, "/nrt.nmgr_v1/shm_map", request.SerializeAsString(), 40);
    });
  }
  // More than two seconds, by this client's own rate: the other's calls have had their turn.
  for (int i = 0; i < 290; ++i) EXPECT_THAT(client().ListNetworks().status(), IsOk());
  const auto clients = client().ListClients();
  for (const auto& other : clients.accounts()) {
    for (const auto& holding : other.holdings()) {
      if (holding.name() == "mappings") {
        EXPECT_EQ(holding.amount(), 0U) << other.DebugString();
      }
    }
  }
}

// The rate is so low that calls wait on the slowest machine too.
TEST_F(RateTest, ACallThatWasGivenUpWhileItWaitedIsNotMade) {
  EXPECT_EQ(daemon_->Stop(), 0);
  StartLimited({"--call-rate", "2"});
  const uint32_t network = Load({.neff = digits_neff()});
  for (int i = 0; i < 10; ++i) EXPECT_THAT(client().ListNetworks().status(), IsOk());
  for (int i = 0; i < 10; ++i) (void)client().BeginUnload(network);
  EXPECT_THAT(client().ListNetworks().status(), IsOk());
  ExpectReads(network);
}

// Its other connections, and other clients, go on.
TEST_F(RateTest, AClientThatGoesOnAlthoughItIsRefusedLosesItsConnection) {
  RawHttp2 connection = Must(RawHttp2::Connect(SocketPath()));
  for (int i = 0; i < 20 && !connection.AtEnd(); ++i) {
    BeginCalls(connection, kListNetworks, "", 100);
    while (connection.Read(std::chrono::milliseconds(20))) {
    }
  }
  EXPECT_TRUE(connection.AtEnd());
  EXPECT_THAT(client().GetVersion().runtime_version().full_version(), ::testing::Not(""));
}

}  // namespace
}  // namespace nrtd::hostile
