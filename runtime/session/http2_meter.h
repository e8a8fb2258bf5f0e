// SPDX-License-Identifier: Apache-2.0
//
// What gRPC holds of one HTTP/2 connection before the service sees it. gRPC shows a call when its
// message is complete; until then only the bytes on the socket tell how much it has buffered.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"

namespace nrtd::runtime {

// Takes frames apart as their bytes pass, wherever they are split. Looks at frame headers and at
// the prefixes of gRPC messages (RFC 9113; gRPC over HTTP/2); the rest is arithmetic on lengths.
// Keeps nothing of what it reads.
class FrameSplitter {
 public:
  enum Type : uint8_t {
    kData = 0,
    kHeaders = 1,
    kReset = 3,
    kSettings = 4,
    kWindowUpdate = 8,
  };
  struct Header {
    uint32_t length = 0;  // of the payload
    uint8_t type = 0;
    uint8_t flags = 0;
    uint32_t stream = 0;
  };
  static constexpr size_t kHeaderBytes = 9;

  // Calls on_frame(header) for every frame, then on_payload(span, last) for each part of its
  // payload that arrives; a frame without payload has none.
  template <typename OnFrame, typename OnPayload>
  void Split(ByteSpan bytes, OnFrame on_frame, OnPayload on_payload);

 private:
  std::array<uint8_t, kHeaderBytes> raw_{};
  size_t raw_bytes_ = 0;
  Header header_;
  uint32_t payload_left_ = 0;
};

// One connection, both directions. One thread at a time.
//
// A byte of a message counts from its arrival until the service has the message (Taken()), its
// stream ends, or the connection does. gRPC keeps whole blocks of the socket's bytes as long as it
// keeps a piece of one, and a piece has a price of its own; both are counted in. An open call
// counts too.
class Http2Meter {
 public:
  // What a call costs gRPC and the service besides its messages, measured with calls that send
  // headers only.
  static constexpr uint64_t kStreamBytes = 16 * 1024;
  // gRPC's own for a piece of a message.
  static constexpr uint64_t kPieceBytes = 48;
  // The largest block into which gRPC reads.
  static constexpr uint64_t kBlockBytes = 64 * 1024;
  // Beyond these a connection's streams are not told apart any more; gRPC allows 256.
  static constexpr size_t kMaxStreams = 1024;

  // Bytes that the client sent, in their order, before gRPC gets to see them.
  void Received(ByteSpan bytes);
  // Bytes that gRPC has sent to the client.
  void Sent(ByteSpan bytes);
  // The service has a message of this length. Nothing when no stream has one.
  void Taken(uint64_t length);
  // Another second (kCallDeadlineCheck) has passed.
  void Tick();

  // Bytes that gRPC holds of this connection.
  uint64_t held() const { return held_; }
  size_t streams() const { return streams_.size(); }
  // Streams of which a message has begun to arrive and is not complete.
  size_t unfinished() const { return unfinished_; }
  // The most ticks without a byte of an unfinished message that the client was free to send.
  uint32_t stalled_ticks() const { return stalled_ticks_; }
  uint64_t received() const { return received_; }
  // It is not HTTP/2 that arrives: every byte counts until the connection ends.
  bool malformed() const { return malformed_; }

  // For another connection.
  void Reset();

 private:
  static constexpr int64_t kDefaultWindow = 65535;
  static constexpr size_t kPrefixBytes = 5;  // of a gRPC message: a flag and its length
  static constexpr size_t kPrefaceBytes = 24;

  struct Stream {
    uint32_t id = 0;
    bool ended = false;  // by the client: no more messages
    uint8_t prefix_bytes = 0;
    uint32_t length = 0;         // of the message that is arriving, as far as its prefix is there
    uint32_t left = 0;           // of it, once the prefix is there
    uint32_t quiet_ticks = 0;    // since a byte of it came that the client could send
    uint32_t complete = 0;       // messages that the service has not taken
    uint64_t oldest_length = 0;  // of the first of them; kUnknown after another one was taken
    uint64_t complete_bytes = 0;
    uint64_t complete_cost = 0;
    uint64_t partial_cost = 0;
    int64_t window = kDefaultWindow;  // bytes that the client may still send
    bool unfinished() const { return prefix_bytes != 0; }
  };
  static constexpr uint64_t kUnknown = ~uint64_t{0};

  Stream* Find(uint32_t id);
  void Open(uint32_t id);
  void Close(uint32_t id);
  void Malformed() { malformed_ = true; }

  void OnFrame(const FrameSplitter::Header& header);
  void OnData(const FrameSplitter::Header& header);
  void OnPayload(ByteSpan bytes, bool last);
  void TakeData(Stream& stream, ByteSpan bytes);
  void Complete(Stream& stream);

  void OnSentFrame(const FrameSplitter::Header& header);
  void OnSentPayload(ByteSpan bytes);
  void OnSentNumber();

  FrameSplitter received_frames_;
  FrameSplitter sent_frames_;
  std::vector<Stream> streams_;
  size_t last_found_ = 0;
  uint32_t highest_id_ = 0;
  uint64_t held_ = 0;
  uint64_t received_ = 0;
  size_t unfinished_ = 0;
  uint32_t stalled_ticks_ = 0;
  bool malformed_ = false;
  size_t preface_bytes_ = 0;
  int64_t window_ = kDefaultWindow;
  int64_t initial_window_ = kDefaultWindow;

  // The frame that is arriving.
  FrameSplitter::Header frame_;
  bool pad_length_awaited_ = false;
  uint32_t data_left_ = 0;  // without its padding
  uint64_t gap_ = 0;        // bytes since the last piece of a message

  // The frame that is being sent.
  FrameSplitter::Header sent_frame_;
  std::array<uint8_t, 6> number_{};  // a setting, or the increment of a window
  size_t number_bytes_ = 0;
};

template <typename OnFrame, typename OnPayload>
void FrameSplitter::Split(ByteSpan bytes, OnFrame on_frame, OnPayload on_payload) {
  while (!bytes.empty()) {
    if (payload_left_ != 0) {
      const size_t part = bytes.size() < payload_left_ ? bytes.size() : payload_left_;
      payload_left_ -= static_cast<uint32_t>(part);
      on_payload(bytes.first(part), payload_left_ == 0);
      bytes = bytes.subspan(part);
      continue;
    }
    raw_[raw_bytes_++] = static_cast<uint8_t>(bytes.front());
    bytes = bytes.subspan(1);
    if (raw_bytes_ < kHeaderBytes) continue;
    raw_bytes_ = 0;
    const auto number = [this](size_t at, size_t count) {
      uint32_t value = 0;
      for (size_t i = at; i < at + count; ++i) value = value << 8 | raw_[i];
      return value;
    };
    header_ = {number(0, 3), raw_[3], raw_[4], number(5, 4) & 0x7fffffff};
    payload_left_ = header_.length;
    on_frame(header_);
  }
}

}  // namespace nrtd::runtime
