// SPDX-License-Identifier: Apache-2.0
//
// An HTTP/2 client that sends any frame, finished or not, and reads only when the test says so. It
// knows as much of gRPC as a call needs: a method, messages with their length in front, a status.
//
//   NRTD_ASSIGN(RawHttp2 client, RawHttp2::Connect(SocketPath()));
//   const uint32_t stream = client.OpenStream("/nrt.nmgr_v1/infer");
//   client.SendMessage(stream, request.SerializeAsString(), kEndStream);
//   const auto answer = client.ReadAnswer(stream, kPatience);  // answer->message, answer->status
//
// Half a message: SendData(stream, MessagePrefix(1000) + "only this"). A stalled upload: the same
// in a load. An answer that is never read: no call of Read...(). A full window: Options.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/unique_fd.h"

namespace nrtd::hostile {

// RFC 9113, section 6.
enum class FrameType : uint8_t {
  kData = 0,
  kHeaders = 1,
  kReset = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
};
inline constexpr uint8_t kEndStream = 0x1;   // of DATA and HEADERS
inline constexpr uint8_t kAck = 0x1;         // of SETTINGS and PING
inline constexpr uint8_t kEndHeaders = 0x4;  // of HEADERS and CONTINUATION
inline constexpr uint32_t kMaxWindow = 0x7fffffff;

// Headers besides those that every call has.
using Metadata = std::vector<std::pair<std::string, std::string>>;

struct Frame {
  FrameType type = FrameType::kData;
  uint8_t flags = 0;
  uint32_t stream = 0;
  std::string payload;

  // The code in the payload of a RST_STREAM or GOAWAY frame.
  uint32_t ErrorCode() const;
};

// What a call was answered with. `status` is gRPC's number, or none if the stream was reset.
struct Answer {
  std::string message;  // the messages, without their prefixes
  std::optional<int> status;
  std::string trailers;  // undecoded: names and values are legible
};

// The five bytes in front of a gRPC message of this length.
std::string MessagePrefix(size_t length);

// Move-only; closes the connection. One thread at a time. Nothing is read unless a function says
// so. A function that writes returns false when the connection is broken, or takes nothing for ten
// seconds.
class RawHttp2 {
 public:
  struct Options {
    // Bytes of answers that the daemon may send for a stream, and in all, before a WINDOW_UPDATE.
    uint32_t stream_window = kMaxWindow;
    uint32_t connection_window = kMaxWindow;  // 65535 is the least
    bool greet = true;                        // sends the preface and SETTINGS
  };

  // kResource when nothing listens there.
  static Result<RawHttp2> Connect(const std::string& socket_path, const Options& options);
  static Result<RawHttp2> Connect(const std::string& socket_path) {
    return Connect(socket_path, Options());
  }

  bool SendBytes(std::string_view bytes);  // as they are
  bool Send(const Frame& frame);           // not subject to flow control
  bool Ping();                             // its acknowledgement is a frame to read
  bool Reset(uint32_t stream, uint32_t error_code = 8 /* CANCEL */);
  bool UpdateWindow(uint32_t stream, uint32_t increment);  // stream 0: the connection

  // Sends the headers of a call of "/package.service/method". 0 when that cannot be sent.
  uint32_t OpenStream(std::string_view method, const Metadata& more = {});
  // DATA frames as large as they may be. Reads, and keeps for Read(), while a window is full; gives
  // up after `patience`.
  bool SendData(uint32_t stream, std::string_view bytes, uint8_t flags = 0,
                Duration patience = std::chrono::seconds(10));
  bool SendMessage(uint32_t stream, std::string_view message, uint8_t flags = 0);
  // Bytes that the daemon takes for this stream now, as far as its updates have been read.
  int64_t SendWindow(uint32_t stream) const;

  // The next frame, whole; nothing when none comes in time or the connection has ended. Settings
  // and pings of the daemon are acknowledged.
  std::optional<Frame> Read(Duration patience);
  // The next frame that `wanted` accepts; keeps the others for later.
  std::optional<Frame> ReadMatching(const std::function<bool(const Frame&)>& wanted,
                                    Duration patience);
  std::optional<Frame> Read(FrameType type, Duration patience);
  // Until the stream ends. Nothing when that does not come in time.
  std::optional<Answer> ReadAnswer(uint32_t stream, Duration patience);
  // The daemon has closed the connection, as far as reading has shown.
  bool AtEnd() const { return at_end_; }

 private:
  explicit RawHttp2(UniqueFd socket) : socket_(std::move(socket)) {}
  bool Fill(TimePoint deadline);
  std::optional<Frame> TakeFrame();
  void Account(const Frame& frame);
  std::optional<Frame> ReadSocket(TimePoint deadline);

  UniqueFd socket_;
  std::string unparsed_;
  std::deque<Frame> kept_;
  uint32_t next_stream_ = 1;
  int64_t connection_window_ = 65535;
  int64_t initial_window_ = 65535;
  std::map<uint32_t, int64_t> sent_;  // by stream: sent, less what updates gave back
  bool at_end_ = false;
};

}  // namespace nrtd::hostile
