// SPDX-License-Identifier: Apache-2.0
#include "runtime/session/http2_meter.h"

#include <string>

#include <gtest/gtest.h>

namespace nrtd::runtime {
namespace {

constexpr uint8_t kEnd = 0x1;
constexpr uint8_t kPadded = 0x8;
constexpr uint8_t kGoAway = 7;
constexpr uint8_t kUnknownType = 0xee;
constexpr uint64_t kStream = Http2Meter::kStreamBytes;

std::string Number(uint64_t value, int bytes) {
  std::string text;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
    text.push_back(static_cast<char>(value >> shift));
  return text;
}
std::string Frame(uint8_t type, uint8_t flags, uint32_t stream, const std::string& payload) {
  return Number(payload.size(), 3) + static_cast<char>(type) + static_cast<char>(flags) +
         Number(stream, 4) + payload;
}
std::string Preface() {
  return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(FrameSplitter::kSettings, 0, 0, "");
}
std::string Headers(uint32_t stream, uint8_t flags = 0) {
  return Frame(FrameSplitter::kHeaders, flags | 0x4, stream, "some headers");
}
std::string Data(uint32_t stream, const std::string& payload, uint8_t flags = 0) {
  return Frame(FrameSplitter::kData, flags, stream, payload);
}
std::string Message(size_t length) {
  return std::string(1, '\0') + Number(length, 4) + std::string(length, 'm');
}
std::string Update(uint32_t stream, uint32_t increment) {
  return Frame(FrameSplitter::kWindowUpdate, 0, stream, Number(increment, 4));
}

struct State {
  uint64_t held;
  size_t streams;
  size_t unfinished;
  bool malformed;
  bool operator==(const State&) const = default;
};
State StateOf(const Http2Meter& meter) {
  return {meter.held(), meter.streams(), meter.unfinished(), meter.malformed()};
}

class Http2MeterTest : public ::testing::Test {
 protected:
  Http2MeterTest() { Receive(Preface()); }
  void Receive(const std::string& bytes) { meter_.Received(AsBytes(bytes)); }
  void Send(const std::string& bytes) { meter_.Sent(AsBytes(bytes)); }
  // Close to: pieces and what lies between them cost as well.
  void ExpectHeld(uint64_t bytes) {
    EXPECT_GE(meter_.held(), bytes);
    EXPECT_LE(meter_.held(), bytes + 1000);
  }
  Http2Meter meter_;
};

TEST_F(Http2MeterTest, HalfAMessageCountsAsFarAsItHasArrived) {
  Receive(Headers(1));
  EXPECT_EQ(meter_.held(), kStream);
  EXPECT_EQ(meter_.unfinished(), 0U);
  Receive(Data(1, Message(100'000).substr(0, 3)));  // not even its length
  EXPECT_EQ(meter_.unfinished(), 1U);
  Receive(Data(1, Message(100'000).substr(3, 50'000)));
  EXPECT_EQ(meter_.unfinished(), 1U);
  ExpectHeld(kStream + 50'003);
}

TEST_F(Http2MeterTest, AWholeMessageCountsUntilTheServiceHasIt) {
  Receive(Headers(1) + Data(1, Message(10'000), kEnd));
  EXPECT_EQ(meter_.unfinished(), 0U);
  ExpectHeld(kStream + 10'000);
  meter_.Taken(9'999);
  ExpectHeld(kStream + 10'000);
  meter_.Taken(10'000);
  EXPECT_EQ(meter_.held(), kStream);
  Send(Headers(1) + Headers(1, kEnd));
  EXPECT_EQ(meter_.held(), 0U);
  EXPECT_EQ(meter_.streams(), 0U);
}

TEST_F(Http2MeterTest, MessagesOfAStreamAreTakenOneByOne) {
  Receive(Headers(1) + Data(1, Message(100) + Message(3'000) + Message(0) + Message(200)));
  meter_.Taken(100);
  ExpectHeld(kStream + 3'200);
  meter_.Taken(3'000);
  ExpectHeld(kStream + 200);
  meter_.Taken(0);
  meter_.Taken(200);
  EXPECT_EQ(meter_.held(), kStream);
}

TEST_F(Http2MeterTest, OneMessageMayComeInManyFramesAndOneFrameHoldManyMessages) {
  Receive(Headers(3));
  for (const char byte : Message(20) + Message(30)) Receive(Data(3, std::string(1, byte)));
  EXPECT_EQ(meter_.unfinished(), 0U);
  meter_.Taken(20);
  meter_.Taken(30);
  EXPECT_EQ(meter_.held(), kStream);
}

TEST_F(Http2MeterTest, PaddingIsNoPartOfAMessage) {
  const std::string message = Message(50);
  Receive(Headers(1));
  Receive(Data(1, std::string(1, 7) + message.substr(0, 30) + std::string(7, 'p'), kPadded));
  EXPECT_EQ(meter_.unfinished(), 1U);
  Receive(Data(1, std::string(1, 0) + message.substr(30), kPadded));
  EXPECT_EQ(meter_.unfinished(), 0U);
  Receive(Data(1, std::string(1, 3) + "ppp", kPadded));
  EXPECT_EQ(meter_.unfinished(), 0U);
  EXPECT_FALSE(meter_.malformed());
  meter_.Taken(50);
  EXPECT_EQ(meter_.held(), kStream);
}

TEST_F(Http2MeterTest, APieceKeepsTheBlockThatItCameIn) {
  Receive(Headers(1));
  for (int i = 0; i < 10; ++i)
    Receive(Frame(kUnknownType, 0, 0, std::string(20'000, 'x')) +
            Data(1, i == 0 ? Message(1'000).substr(0, 10) : "m"));
  EXPECT_GT(meter_.held(), 200'000U);
}

TEST_F(Http2MeterTest, AResetDropsWhatItsStreamHas) {
  Receive(Headers(1) + Data(1, Message(100)) + Headers(3) + Data(3, Message(500).substr(0, 400)));
  Receive(Frame(FrameSplitter::kReset, 0, 3, Number(8, 4)));
  EXPECT_EQ(meter_.unfinished(), 0U);
  ExpectHeld(kStream + 100);
  Send(Frame(FrameSplitter::kReset, 0, 1, Number(8, 4)));
  EXPECT_EQ(meter_.held(), 0U);
  // The client did not know yet.
  Receive(Data(1, std::string(1'000, 'm'), kEnd));
  EXPECT_EQ(meter_.held(), 0U);
  EXPECT_FALSE(meter_.malformed());
}

TEST_F(Http2MeterTest, AnEndInTheMiddleOfAMessageDropsIt) {
  Receive(Headers(1) + Data(1, Message(100).substr(0, 50)) + Data(1, "", kEnd));
  EXPECT_EQ(meter_.unfinished(), 0U);
  EXPECT_EQ(meter_.held(), kStream);
}

TEST_F(Http2MeterTest, ManyStreamsAtOnce) {
  constexpr uint32_t kStreams = 256;
  for (uint32_t i = 0; i < kStreams; ++i)
    Receive(Headers(2 * i + 1) + Data(2 * i + 1, Message(2'000).substr(0, 1'000)));
  EXPECT_EQ(meter_.unfinished(), kStreams);
  EXPECT_GE(meter_.held(), kStreams * (kStream + 1'000));
  for (uint32_t i = 0; i < kStreams; ++i) Receive(Data(2 * i + 1, std::string(1'005, 'm'), kEnd));
  EXPECT_EQ(meter_.unfinished(), 0U);
  for (uint32_t i = 0; i < kStreams; ++i) {
    meter_.Taken(2'000);
    Send(Headers(2 * i + 1, kEnd));
  }
  EXPECT_EQ(meter_.held(), 0U);
}

TEST_F(Http2MeterTest, WhatIsNoHttp2CountsUntilTheConnectionEnds) {
  const std::string garbage(100'000, '\xa5');
  Receive(Headers(1));
  Receive(Data(5, "data before headers"));
  EXPECT_TRUE(meter_.malformed());
  Receive(garbage);
  EXPECT_GE(meter_.held(), garbage.size() - FrameSplitter::kHeaderBytes);
  meter_.Reset();
  EXPECT_EQ(meter_.held(), 0U);
  EXPECT_FALSE(meter_.malformed());
  for (const std::string& wrong :
       {Headers(2), Headers(0), Data(0, "x"), Data(1, std::string(1, 6) + "12345", kPadded),
        Data(1, "", kPadded)}) {
    meter_.Reset();
    Receive(Preface() + Headers(1) + wrong);
    EXPECT_TRUE(meter_.malformed());
  }
}

TEST_F(Http2MeterTest, MoreStreamsThanAnyPeerMayOpenAreNotKept) {
  for (uint32_t i = 0; i < 5'000; ++i) Receive(Headers(2 * i + 1));
  EXPECT_TRUE(meter_.malformed());
  EXPECT_LE(meter_.streams(), Http2Meter::kMaxStreams);
}

TEST_F(Http2MeterTest, AMessageOfWhichNoMoreComesIsStalled) {
  Receive(Headers(1) + Data(1, Message(100).substr(0, 50)));
  for (int i = 0; i < 3; ++i) meter_.Tick();
  EXPECT_EQ(meter_.stalled_ticks(), 3U);
  // Another stream's bytes do not excuse it; its own do.
  Receive(Headers(3) + Data(3, Message(100), kEnd));
  meter_.Tick();
  EXPECT_EQ(meter_.stalled_ticks(), 4U);
  Receive(Data(1, "m"));
  meter_.Tick();
  EXPECT_EQ(meter_.stalled_ticks(), 1U);
  Receive(Data(1, std::string(54, 'm'), kEnd));
  meter_.Tick();
  EXPECT_EQ(meter_.stalled_ticks(), 0U);
}

TEST_F(Http2MeterTest, AClientThatMayNotSendIsNotStalled) {
  const std::string message = Message(200'000);
  Receive(Headers(1) + Data(1, message.substr(0, 65'535)));
  for (int i = 0; i < 20; ++i) meter_.Tick();
  EXPECT_EQ(meter_.stalled_ticks(), 0U);
  Send(Update(0, 100'000));  // the connection may, the stream may not
  meter_.Tick();
  EXPECT_EQ(meter_.stalled_ticks(), 0U);
  Send(Update(1, 1));
  meter_.Tick();
  EXPECT_EQ(meter_.stalled_ticks(), 1U);
  Receive(Data(1, "m"));
  Send(Frame(FrameSplitter::kSettings, 0, 0,
             Number(3, 2) + Number(9, 4) + Number(4, 2) + Number(65'536, 4)));
  meter_.Tick();
  EXPECT_EQ(meter_.stalled_ticks(), 1U);
}

std::string Recorded() {
  std::string bytes = Preface() + Headers(1) + Data(1, Message(300), kEnd) + Headers(3);
  bytes += Data(3, std::string(1, 9) + Message(70).substr(0, 40) + std::string(9, 'p'), kPadded);
  bytes += Frame(kUnknownType, 0xff, 77, "anything") + Headers(5, kEnd);
  bytes += Data(3, Message(70).substr(40) + Message(5) + Message(9).substr(0, 2));
  bytes +=
      Frame(kGoAway, 0, 0, std::string(8, '\0')) + Headers(7) + Data(7, Message(60).substr(0, 20));
  bytes += Frame(FrameSplitter::kReset, 0, 7, Number(8, 4)) + Data(7, "late") + Data(3, "");
  return bytes;
}

TEST(Http2MeterSplitTest, EverySplitGivesTheSame) {
  const std::string bytes = Recorded();
  Http2Meter whole;
  whole.Received(AsBytes(bytes));
  ASSERT_FALSE(whole.malformed());
  ASSERT_EQ(whole.streams(), 3U);
  ASSERT_EQ(whole.unfinished(), 1U);
  Http2Meter bytewise;
  for (const char byte : bytes) bytewise.Received(AsBytes({&byte, 1}));
  EXPECT_EQ(StateOf(bytewise), StateOf(whole));
  for (size_t at = 0; at <= bytes.size(); ++at) {
    Http2Meter split;
    split.Received(AsBytes(std::string_view(bytes).substr(0, at)));
    split.Received(AsBytes(std::string_view(bytes).substr(at)));
    ASSERT_EQ(StateOf(split), StateOf(whole)) << "split at " << at;
  }
}

TEST(Http2MeterSplitTest, WhatIsSentMayBeSplitAnywhere) {
  const std::string sent = Frame(FrameSplitter::kSettings, 0, 0, Number(4, 2) + Number(70'000, 4)) +
                           Update(0, 5) + Headers(1) + Data(1, "answer") + Headers(1, kEnd);
  for (size_t at = 0; at <= sent.size(); ++at) {
    Http2Meter meter;
    const std::string received = Recorded();
    meter.Received(AsBytes(received));
    meter.Sent(AsBytes(std::string_view(sent).substr(0, at)));
    meter.Sent(AsBytes(std::string_view(sent).substr(at)));
    ASSERT_EQ(meter.streams(), 2U) << "split at " << at;
  }
}

}  // namespace
}  // namespace nrtd::runtime
