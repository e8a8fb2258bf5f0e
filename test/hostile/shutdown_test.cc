// SPDX-License-Identifier: Apache-2.0
//
// SIGTERM ends the daemon in time whatever clients do.
#include "base/sanitized.h"
#include "base/timeouts.h"
#include "test/hostile/hostile_test.h"
#include "test/hostile/raw_http2.h"

namespace nrtd::hostile {
namespace {

class ShutdownTest : public HostileTest {
 protected:
  // Must exit with 0 within the bound, with some room for a busy machine.
  void ExpectEndsInTime() {
    const auto begun = std::chrono::steady_clock::now();
    EXPECT_EQ(daemon().Stop(), 0);
    const auto took = std::chrono::steady_clock::now() - begun;
    if (!kSanitized) {
      EXPECT_LT(took, kShutdownBound + std::chrono::seconds(2));
    }
    client_.reset();
    daemon_.reset();
  }
};

TEST_F(ShutdownTest, ABusyNetworkWithATimeoutOfADayDoesNotHoldIt) {
  const uint32_t network =
      Load({.neff = integration::SlowNeff(), .ninfer = 8, .timeout_s = 86'400});
  for (int i = 0; i < 8; ++i) ASSERT_THAT(client().Post(integration::SlowInput(network)), IsOk());
  const auto waiting = client().BeginInfer(integration::SlowInput(network));
  ExpectEndsInTime();
}

TEST_F(ShutdownTest, ManyOpenSessionsDoNotHoldIt) {
  std::vector<std::unique_ptr<integration::SessionStream>> sessions;
  for (int i = 0; i < 100; ++i) {
    sessions.push_back(client().OpenSession());
    ASSERT_NE(sessions.back()->Read().session_id(), 0U);
  }
  ExpectEndsInTime();
}

TEST_F(ShutdownTest, CallsThatStopHalfWayDoNotHoldIt) {
  RawHttp2 raw = Must(RawHttp2::Connect(SocketPath()));
  const uint32_t upload = raw.OpenStream("/nrt.nmgr_v1/load");
  ASSERT_TRUE(raw.SendData(upload, MessagePrefix(1000) + "only this"));
  for (int i = 0; i < 20; ++i) {
    const uint32_t stream = raw.OpenStream("/nrt.nmgr_v1/infer");
    ASSERT_TRUE(raw.SendData(stream, MessagePrefix(100'000) + "only this"));
  }
  ExpectEndsInTime();
}

TEST_F(ShutdownTest, AnIdleSessionDoesNotHoldItAtAll) {
  auto session = client().OpenSession();
  ASSERT_NE(session->Read().session_id(), 0U);
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(daemon().Stop(), 0);
  if (!kSanitized) {
    EXPECT_LT(std::chrono::steady_clock::now() - begun, kShutdownGrace);
  }
  daemon_.reset();
}

TEST_F(ShutdownTest, APostedResultCanBeCollectedMeanwhile) {
  const uint32_t network = Load({.neff = digits_neff(), .ninfer = 2});
  const integration::Digits digits;
  const auto posted = client().Post(integration::InferRequest(network, digits.Input(0)));
  ASSERT_THAT(posted, IsOk());
  daemon().Signal(SIGTERM);
  ASSERT_TRUE(daemon().AwaitLog("shutting down"));
  EXPECT_THAT(client().Wait(posted.cookie()), IsOk());
  EXPECT_EQ(daemon().AwaitExit(), 0);
  daemon_.reset();
}

}  // namespace
}  // namespace nrtd::hostile
