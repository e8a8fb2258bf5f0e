// SPDX-License-Identifier: Apache-2.0
#include "runtime/session/http2_meter.h"

#include <algorithm>

namespace nrtd::runtime {
namespace {

constexpr uint8_t kEndStream = 0x1;  // of DATA and HEADERS
constexpr uint8_t kAck = 0x1;        // of SETTINGS
constexpr uint8_t kPadded = 0x8;
constexpr size_t kSettingBytes = 6;
constexpr size_t kIncrementBytes = 4;
constexpr uint32_t kInitialWindowSize = 4;  // the setting

template <size_t N>
uint32_t Number(const std::array<uint8_t, N>& bytes, size_t at, size_t count) {
  uint32_t value = 0;
  for (size_t i = at; i < at + count; ++i) value = value << 8 | bytes[i];
  return value;
}

}  // namespace

void Http2Meter::Reset() {
  // Streams' memory is kept for the next connection, unless this one had very many.
  std::vector<Stream> streams = std::move(streams_);
  streams.clear();
  if (streams.capacity() > 64) streams = {};
  *this = Http2Meter();
  streams_ = std::move(streams);
}

void Http2Meter::Received(ByteSpan bytes) {
  received_ += bytes.size();
  if (preface_bytes_ < kPrefaceBytes) {
    const size_t part = std::min(bytes.size(), kPrefaceBytes - preface_bytes_);
    preface_bytes_ += part;  // gRPC closes the connection unless it is the right one
    bytes = bytes.subspan(part);
  }
  received_frames_.Split(
      bytes, [this](const FrameSplitter::Header& header) { OnFrame(header); },
      [this](ByteSpan payload, bool last) { OnPayload(payload, last); });
}

Http2Meter::Stream* Http2Meter::Find(uint32_t id) {
  if (last_found_ < streams_.size() && streams_[last_found_].id == id)
    return &streams_[last_found_];
  const auto found = std::find_if(streams_.rbegin(), streams_.rend(),
                                  [id](const Stream& stream) { return stream.id == id; });
  if (found == streams_.rend()) return nullptr;
  last_found_ = static_cast<size_t>(streams_.rend() - found) - 1;
  return &*found;
}

void Http2Meter::Open(uint32_t id) {
  if (id % 2 == 0 || streams_.size() >= kMaxStreams) {
    Malformed();
    return;
  }
  highest_id_ = id;
  Stream& stream = streams_.emplace_back();
  stream.id = id;
  stream.window = initial_window_;
  held_ += kStreamBytes;
}

void Http2Meter::Close(uint32_t id) {
  Stream* const stream = Find(id);
  if (stream == nullptr) return;
  held_ -= kStreamBytes + stream->partial_cost + stream->complete_cost;
  if (stream->unfinished()) --unfinished_;
  *stream = streams_.back();
  streams_.pop_back();
}

void Http2Meter::OnFrame(const FrameSplitter::Header& header) {
  if (malformed_) {
    held_ += FrameSplitter::kHeaderBytes;
    return;
  }
  frame_ = header;
  gap_ += FrameSplitter::kHeaderBytes;
  data_left_ = 0;
  pad_length_awaited_ = false;
  switch (header.type) {
    case FrameSplitter::kData:
      OnData(header);
      break;
    case FrameSplitter::kHeaders:
      if (header.stream > highest_id_) {
        Open(header.stream);
      } else if (header.stream == 0) {
        Malformed();
      }
      break;
    case FrameSplitter::kReset:
      Close(header.stream);
      return;
    default:
      return;
  }
  if ((header.flags & kEndStream) != 0 && header.length == 0) OnPayload({}, true);
}

void Http2Meter::OnData(const FrameSplitter::Header& header) {
  data_left_ = header.length;
  pad_length_awaited_ = (header.flags & kPadded) != 0;
  window_ -= header.length;
  if (Stream* const stream = Find(header.stream)) stream->window -= header.length;
  if (header.stream == 0 || header.stream > highest_id_ ||
      (pad_length_awaited_ && header.length == 0))
    Malformed();
}

void Http2Meter::OnPayload(ByteSpan bytes, bool last) {
  if (malformed_) {
    held_ += bytes.size();
    return;
  }
  if (frame_.type == FrameSplitter::kData) {
    if (pad_length_awaited_ && !bytes.empty()) {
      pad_length_awaited_ = false;
      const auto padding = static_cast<uint32_t>(bytes.front());
      bytes = bytes.subspan(1);
      ++gap_;
      if (padding >= data_left_) {
        Malformed();
        held_ += bytes.size();
        return;
      }
      data_left_ -= 1 + padding;
    }
    const ByteSpan data = bytes.first(std::min<size_t>(bytes.size(), data_left_));
    data_left_ -= static_cast<uint32_t>(data.size());
    bytes = bytes.subspan(data.size());
    Stream* const stream = Find(frame_.stream);
    if (stream != nullptr && !stream->ended && !data.empty()) TakeData(*stream, data);
  }
  gap_ += bytes.size();
  const bool has_end =
      frame_.type == FrameSplitter::kData || frame_.type == FrameSplitter::kHeaders;
  if (!last || !has_end || (frame_.flags & kEndStream) == 0) return;
  Stream* const stream = Find(frame_.stream);
  if (stream == nullptr || stream->ended) return;
  stream->ended = true;
  if (!stream->unfinished()) return;
  // A message that the end has cut off: gRPC drops it.
  held_ -= stream->partial_cost;
  stream->partial_cost = 0;
  stream->prefix_bytes = 0;
  --unfinished_;
}

void Http2Meter::TakeData(Stream& stream, ByteSpan bytes) {
  // The first part of a frame's data pays for what came before it.
  uint64_t before = 0;
  if (gap_ != 0) before = std::min(gap_, kBlockBytes) + kPieceBytes;
  gap_ = 0;
  stream.quiet_ticks = 0;
  held_ += before;
  stream.partial_cost += before;
  while (!bytes.empty()) {
    size_t part = 0;
    if (!stream.unfinished()) {
      ++unfinished_;
      stream.length = 0;
    }
    if (stream.prefix_bytes < kPrefixBytes) {
      part = 1;
      if (++stream.prefix_bytes != 1)  // not the flag
        stream.length = stream.length << 8 | static_cast<uint32_t>(bytes.front());
      stream.left = stream.length;
    } else {
      part = std::min<size_t>(bytes.size(), stream.left);
      stream.left -= static_cast<uint32_t>(part);
    }
    bytes = bytes.subspan(part);
    held_ += part;
    stream.partial_cost += part;
    if (stream.prefix_bytes == kPrefixBytes && stream.left == 0) Complete(stream);
  }
}

void Http2Meter::Complete(Stream& stream) {
  if (stream.complete++ == 0) stream.oldest_length = stream.length;
  stream.complete_bytes += stream.length;
  stream.complete_cost += stream.partial_cost;
  stream.partial_cost = 0;
  stream.prefix_bytes = 0;
  --unfinished_;
}

void Http2Meter::Taken(uint64_t length) {
  const auto find = [this](auto wanted) {
    return std::find_if(streams_.begin(), streams_.end(), [wanted](const Stream& stream) {
      return stream.complete != 0 && wanted(stream);
    });
  };
  // Which of them does not matter for the sum.
  auto stream = find([length](const Stream& each) { return each.oldest_length == length; });
  if (stream == streams_.end()) {
    stream = find([length](const Stream& each) {
      return each.oldest_length == kUnknown && each.complete_bytes >= length;
    });
  }
  if (stream == streams_.end()) return;
  uint64_t cost = stream->complete_cost;
  if (stream->complete > 1) {
    // Its bytes, and a share of what they cost besides.
    cost = std::min(cost, length + (cost - stream->complete_bytes) / stream->complete);
  }
  held_ -= cost;
  stream->complete_cost -= cost;
  stream->complete_bytes -= std::min(stream->complete_bytes, length);
  stream->complete_bytes = std::min(stream->complete_bytes, stream->complete_cost);
  --stream->complete;
  stream->oldest_length = kUnknown;
}

void Http2Meter::Tick() {
  stalled_ticks_ = 0;
  if (unfinished_ == 0) return;
  for (Stream& stream : streams_) {
    if (!stream.unfinished()) continue;
    const bool may_send = window_ > 0 && stream.window > 0;
    stream.quiet_ticks = may_send ? stream.quiet_ticks + 1 : 0;
    stalled_ticks_ = std::max(stalled_ticks_, stream.quiet_ticks);
  }
}

void Http2Meter::Sent(ByteSpan bytes) {
  sent_frames_.Split(
      bytes, [this](const FrameSplitter::Header& header) { OnSentFrame(header); },
      [this](ByteSpan payload, bool) { OnSentPayload(payload); });
}

// A stream has ended for gRPC when it says so, or resets it: the end may come before what is left
// of the client's messages, which gRPC then drops.
void Http2Meter::OnSentFrame(const FrameSplitter::Header& header) {
  sent_frame_ = header;
  number_bytes_ = 0;
  const bool may_end =
      header.type == FrameSplitter::kData || header.type == FrameSplitter::kHeaders;
  if (header.type == FrameSplitter::kReset || (may_end && (header.flags & kEndStream) != 0))
    Close(header.stream);
}

void Http2Meter::OnSentPayload(ByteSpan bytes) {
  const bool settings =
      sent_frame_.type == FrameSplitter::kSettings && (sent_frame_.flags & kAck) == 0;
  if (!settings && sent_frame_.type != FrameSplitter::kWindowUpdate) return;
  for (const std::byte byte : bytes) {
    number_[number_bytes_++] = static_cast<uint8_t>(byte);
    if (number_bytes_ < (settings ? kSettingBytes : kIncrementBytes)) continue;
    number_bytes_ = 0;
    OnSentNumber();
  }
}

void Http2Meter::OnSentNumber() {
  if (sent_frame_.type == FrameSplitter::kSettings) {
    if (Number(number_, 0, 2) != kInitialWindowSize) return;
    const int64_t initial = Number(number_, 2, 4);
    for (Stream& stream : streams_) stream.window += initial - initial_window_;
    initial_window_ = initial;
    return;
  }
  const int64_t increment = Number(number_, 0, 4) & 0x7fffffff;
  if (sent_frame_.stream == 0) {
    window_ += increment;
  } else if (Stream* const stream = Find(sent_frame_.stream)) {
    stream->window += increment;
  }
}

}  // namespace nrtd::runtime
