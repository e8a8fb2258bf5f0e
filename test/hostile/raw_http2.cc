// SPDX-License-Identifier: Apache-2.0
#include "test/hostile/raw_http2.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace nrtd::hostile {
namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr size_t kHeaderBytes = 9;
constexpr size_t kMaxFrameBytes = 16384;  // what every HTTP/2 peer takes
constexpr uint16_t kHeaderTableSize = 1;
constexpr uint16_t kInitialWindowSize = 4;
constexpr uint16_t kMaxFrameSize = 5;
constexpr std::chrono::seconds kWritePatience(10);

TimePoint Now() {
  static SteadyClock clock;
  return clock.Now();
}

// Big-endian, `bytes` of them.
std::string Number(uint64_t value, int bytes) {
  std::string text;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
    text.push_back(static_cast<char>(value >> shift));
  return text;
}

uint32_t ReadNumber(std::string_view bytes) {
  uint32_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<uint8_t>(byte);
  return value;
}

// RFC 7541, section 6.2.2: a literal that no table keeps, neither name nor value compressed.
void AppendHeader(std::string& block, std::string_view name, std::string_view value) {
  block.push_back(0);
  for (const std::string_view text : {name, value}) {
    if (text.size() < 127) {
      block.push_back(static_cast<char>(text.size()));
    } else {
      block.push_back(127);
      size_t rest = text.size() - 127;
      for (; rest >= 128; rest /= 128) block.push_back(static_cast<char>(rest % 128 + 128));
      block.push_back(static_cast<char>(rest));
    }
    block.append(text);
  }
}

std::string HeaderBlock(std::string_view method, const Metadata& more) {
  std::string block;
  AppendHeader(block, ":method", "POST");
  AppendHeader(block, ":scheme", "http");
  AppendHeader(block, ":path", method);
  AppendHeader(block, ":authority", "localhost");
  AppendHeader(block, "content-type", "application/grpc");
  AppendHeader(block, "te", "trailers");
  for (const auto& [name, value] : more) AppendHeader(block, name, value);
  return block;
}

// The daemon's compressor keeps no table, since SETTINGS say so, and gRPC's does not use Huffman's
// code: the name, one byte of length, the value.
std::optional<int> GrpcStatus(const std::string& trailers) {
  constexpr std::string_view kName = "grpc-status";
  const size_t at = trailers.find(kName);
  if (at == std::string::npos || at + kName.size() + 1 >= trailers.size()) return std::nullopt;
  const size_t length = static_cast<uint8_t>(trailers[at + kName.size()]);
  return std::atoi(trailers.substr(at + kName.size() + 1, length).c_str());
}

std::string Unprefixed(std::string_view data) {
  std::string messages;
  while (data.size() >= 5) {
    const size_t length = ReadNumber(data.substr(1, 4));
    messages.append(data.substr(5, length));
    data.remove_prefix(std::min(data.size(), 5 + length));
  }
  return messages;
}

bool AwaitEvents(int fd, short events, TimePoint deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Now()).count();
  pollfd ready{.fd = fd, .events = events, .revents = 0};
  return ::poll(&ready, 1, static_cast<int>(std::max<int64_t>(left, 0))) == 1;
}

}  // namespace

uint32_t Frame::ErrorCode() const {
  const size_t at = type == FrameType::kGoAway ? 4 : 0;
  return payload.size() < at + 4 ? 0 : ReadNumber(std::string_view(payload).substr(at, 4));
}

std::string MessagePrefix(size_t length) {
  return std::string(1, '\0') + Number(length, 4);
}

Result<RawHttp2> RawHttp2::Connect(const std::string& socket_path, const Options& options) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof(name.sun_path))
    return Fail(Nerr::kInvalid, "the path {} is too long", socket_path);
  std::memcpy(name.sun_path, socket_path.c_str(), socket_path.size() + 1);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) != 0)
    return Fail(Nerr::kResource, "cannot connect to {}: {}", socket_path, ErrnoText(errno));
  RawHttp2 client(std::move(socket));
  if (!options.greet) return client;
  Frame settings{FrameType::kSettings, 0, 0, ""};
  settings.payload = Number(kHeaderTableSize, 2) + Number(0, 4) + Number(kInitialWindowSize, 2) +
                     Number(options.stream_window, 4) + Number(kMaxFrameSize, 2) +
                     Number(0xffffff, 4);
  bool sent = client.SendBytes(kPreface) && client.Send(settings);
  if (options.connection_window > 65535)
    sent = sent && client.UpdateWindow(0, options.connection_window - 65535);
  if (!sent) return Fail(Nerr::kResource, "{} does not take a connection's preface", socket_path);
  return client;
}

bool RawHttp2::SendBytes(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count =
        ::send(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count >= 0) {
      bytes.remove_prefix(static_cast<size_t>(count));
    } else if (errno != EAGAIN && errno != EINTR) {
      return false;
    } else if (!AwaitEvents(socket_.get(), POLLOUT, Now() + kWritePatience)) {
      return false;
    }
  }
  return true;
}

bool RawHttp2::Send(const Frame& frame) {
  return SendBytes(Number(frame.payload.size(), 3) + static_cast<char>(frame.type) +
                   static_cast<char>(frame.flags) + Number(frame.stream, 4) + frame.payload);
}

bool RawHttp2::Ping() {
  return Send({FrameType::kPing, 0, 0, std::string(8, 'p')});
}

bool RawHttp2::Reset(uint32_t stream, uint32_t error_code) {
  return Send({FrameType::kReset, 0, stream, Number(error_code, 4)});
}

bool RawHttp2::UpdateWindow(uint32_t stream, uint32_t increment) {
  return Send({FrameType::kWindowUpdate, 0, stream, Number(increment, 4)});
}

uint32_t RawHttp2::OpenStream(std::string_view method, const Metadata& more) {
  const uint32_t stream = next_stream_;
  if (!Send({FrameType::kHeaders, kEndHeaders, stream, HeaderBlock(method, more)})) return 0;
  next_stream_ += 2;
  sent_[stream] = 0;
  return stream;
}

int64_t RawHttp2::SendWindow(uint32_t stream) const {
  const auto sent = sent_.find(stream);
  return std::min(connection_window_, initial_window_ - (sent == sent_.end() ? 0 : sent->second));
}

bool RawHttp2::SendData(uint32_t stream, std::string_view bytes, uint8_t flags, Duration patience) {
  const TimePoint deadline = Now() + patience;
  do {
    while (!bytes.empty() && SendWindow(stream) <= 0) {
      auto frame = ReadSocket(deadline);
      if (!frame) return false;
      kept_.push_back(std::move(*frame));
    }
    const size_t part = std::min({bytes.size(), kMaxFrameBytes,
                                  static_cast<size_t>(std::max<int64_t>(SendWindow(stream), 0))});
    const bool last = part == bytes.size();
    if (!Send({FrameType::kData, last ? flags : uint8_t{0}, stream,
               std::string(bytes.substr(0, part))}))
      return false;
    connection_window_ -= static_cast<int64_t>(part);
    sent_[stream] += static_cast<int64_t>(part);
    bytes.remove_prefix(part);
  } while (!bytes.empty());
  return true;
}

bool RawHttp2::SendMessage(uint32_t stream, std::string_view message, uint8_t flags) {
  return SendData(stream, MessagePrefix(message.size()) + std::string(message), flags);
}

std::optional<Frame> RawHttp2::Read(Duration patience) {
  return ReadMatching([](const Frame&) { return true; }, patience);
}

std::optional<Frame> RawHttp2::Read(FrameType type, Duration patience) {
  return ReadMatching([type](const Frame& frame) { return frame.type == type; }, patience);
}

std::optional<Frame> RawHttp2::ReadMatching(const std::function<bool(const Frame&)>& wanted,
                                            Duration patience) {
  const auto kept = std::find_if(kept_.begin(), kept_.end(), wanted);
  if (kept != kept_.end()) {
    Frame frame = std::move(*kept);
    kept_.erase(kept);
    return frame;
  }
  const TimePoint deadline = Now() + patience;
  while (auto frame = ReadSocket(deadline)) {
    if (wanted(*frame)) return frame;
    kept_.push_back(std::move(*frame));
  }
  return std::nullopt;
}

std::optional<Answer> RawHttp2::ReadAnswer(uint32_t stream, Duration patience) {
  const TimePoint deadline = Now() + patience;
  Answer answer;
  std::string data;
  while (auto frame = ReadMatching([&](const Frame& each) { return each.stream == stream; },
                                   deadline - Now())) {
    if (frame->type == FrameType::kData) data += frame->payload;
    if (frame->type == FrameType::kHeaders) answer.trailers = std::move(frame->payload);
    const bool reset = frame->type == FrameType::kReset;
    const bool ended = (frame->type == FrameType::kData || frame->type == FrameType::kHeaders) &&
                       (frame->flags & kEndStream) != 0;
    if (!reset && !ended) continue;
    answer.message = Unprefixed(data);
    answer.status = GrpcStatus(answer.trailers);
    return answer;
  }
  return std::nullopt;
}

// Reads once, whatever there is.
bool RawHttp2::Fill(TimePoint deadline) {
  if (at_end_ || !AwaitEvents(socket_.get(), POLLIN, deadline)) return false;
  std::array<char, 65536> buffer{};
  const ssize_t count = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
  if (count > 0) {
    unparsed_.append(buffer.data(), static_cast<size_t>(count));
    return true;
  }
  at_end_ = count == 0 || errno != EINTR;
  return !at_end_;
}

std::optional<Frame> RawHttp2::TakeFrame() {
  if (unparsed_.size() < kHeaderBytes) return std::nullopt;
  const std::string_view view = unparsed_;
  const size_t length = ReadNumber(view.substr(0, 3));
  if (view.size() < kHeaderBytes + length) return std::nullopt;
  Frame frame{static_cast<FrameType>(view[3]), static_cast<uint8_t>(view[4]),
              ReadNumber(view.substr(5, 4)) & kMaxWindow,
              std::string(view.substr(kHeaderBytes, length))};
  unparsed_.erase(0, kHeaderBytes + length);
  return frame;
}

// Windows, and what has to be acknowledged.
void RawHttp2::Account(const Frame& frame) {
  const std::string_view payload = frame.payload;
  if (frame.type == FrameType::kWindowUpdate) {
    const int64_t increment = ReadNumber(payload);
    if (frame.stream == 0) {
      connection_window_ += increment;
    } else {
      sent_[frame.stream] -= increment;
    }
  }
  if ((frame.flags & kAck) != 0) return;
  if (frame.type == FrameType::kSettings) {
    for (size_t at = 0; at + 6 <= payload.size(); at += 6) {
      if (ReadNumber(payload.substr(at, 2)) == kInitialWindowSize)
        initial_window_ = ReadNumber(payload.substr(at + 2, 4));
    }
    Send({FrameType::kSettings, kAck, 0, ""});
  }
  if (frame.type == FrameType::kPing) Send({FrameType::kPing, kAck, 0, frame.payload});
}

std::optional<Frame> RawHttp2::ReadSocket(TimePoint deadline) {
  do {
    if (auto frame = TakeFrame()) {
      Account(*frame);
      return frame;
    }
  } while (Fill(deadline));
  return std::nullopt;
}

}  // namespace nrtd::hostile
