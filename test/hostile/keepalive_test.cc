// SPDX-License-Identifier: Apache-2.0
//
// Clients of gRPC in Go, Java and Python keep a quiet connection alive with pings, every 10 s or
// more. Such a client keeps its session; one that floods the daemon with pings does not.
#include "test/hostile/hostile_test.h"
#include "test/hostile/raw_http2.h"

namespace nrtd::hostile {
namespace {

class KeepaliveTest : public HostileTest {
 protected:
  static constexpr std::chrono::seconds kPatience{30};
  static constexpr std::chrono::seconds kPingInterval{5};
  static constexpr uint32_t kEnhanceYourCalm = 11;
  // Pings that come too early which gRPC forgives a connection. One more, and it ends.
  static constexpr int kForgiven = 2;

  RawHttp2 Connect() {
    auto client = RawHttp2::Connect(SocketPath());
    EXPECT_TRUE(client.has_value());
    return std::move(*client);
  }
  static uint32_t OpenSession(RawHttp2& client) {
    const uint32_t stream = client.OpenStream("/nrt.nmgr_session_manager/session_monitor");
    EXPECT_TRUE(client.SendMessage(stream, ""));
    EXPECT_TRUE(client.Read(FrameType::kData, kPatience)) << "no session";
    return stream;
  }
  // The daemon has seen the ping when it acknowledges it.
  static void Ping(RawHttp2& client) {
    ASSERT_TRUE(client.Ping());
    ASSERT_TRUE(client.Read(FrameType::kPing, kPatience)) << "no answer to a ping";
  }
  // Until the next ping may be sent the daemon has the time to close the connection.
  static void ExpectOpenForAnInterval(RawHttp2& client) {
    const auto goaway = client.Read(FrameType::kGoAway, kPingInterval);
    EXPECT_FALSE(goaway) << "closed: " << goaway->payload.substr(8);
    EXPECT_FALSE(client.AtEnd());
  }
  // Uses up what is forgiven, so that the next ping decides.
  static void PingTooOften(RawHttp2& client) {
    for (int i = 0; i <= kForgiven; ++i) Ping(client);
  }
};

TEST_F(KeepaliveTest, ASessionThatPingsEveryFiveSecondsIsKept) {
  RawHttp2 client = Connect();
  const uint32_t session = OpenSession(client);
  PingTooOften(client);
  ExpectOpenForAnInterval(client);
  Ping(client);
  ExpectOpenForAnInterval(client);
  EXPECT_EQ(RtdClient(address()).ListSessions().sessions_size(), 1);
  EXPECT_TRUE(client.Reset(session));
}

TEST_F(KeepaliveTest, AConnectionWithoutCallsThatPingsEveryFiveSecondsIsKept) {
  RawHttp2 client = Connect();
  const uint32_t session = OpenSession(client);
  ASSERT_TRUE(client.SendData(session, "", kEndStream));
  ASSERT_TRUE(client.ReadAnswer(session, kPatience));
  PingTooOften(client);
  ExpectOpenForAnInterval(client);
  Ping(client);
  ExpectOpenForAnInterval(client);
}

TEST_F(KeepaliveTest, AFloodOfPingsEndsItsOwnConnectionOnly) {
  RawHttp2 flood = Connect();
  OpenSession(flood);
  RawHttp2 other = Connect();
  OpenSession(other);
  for (int i = 0; i < 100; ++i) (void)flood.Ping();
  const auto goaway = flood.Read(FrameType::kGoAway, kPatience);
  ASSERT_TRUE(goaway);
  EXPECT_EQ(goaway->ErrorCode(), kEnhanceYourCalm);
  Await("the flood's session ends", [&] { return client().ListSessions().sessions_size() == 1; });
  Ping(other);
}

}  // namespace
}  // namespace nrtd::hostile
