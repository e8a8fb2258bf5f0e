// SPDX-License-Identifier: Apache-2.0
//
// Whatever a client sends: the meter keeps its sums, and says the same however the bytes are split.
// The input is what is received and what is sent, in turns, each with its length (u8) in front.
#include <cstdlib>

#include "runtime/session/http2_meter.h"

namespace nrtd::runtime {
namespace {

bool Same(const Http2Meter& a, const Http2Meter& b) {
  return a.held() == b.held() && a.streams() == b.streams() && a.unfinished() == b.unfinished() &&
         a.malformed() == b.malformed() && a.received() == b.received();
}

void Check(ByteSpan input) {
  Http2Meter whole;
  Http2Meter bytewise;
  constexpr std::array<std::byte, 24> kPreface{};
  whole.Received(kPreface);
  bytewise.Received(kPreface);
  for (bool sent = false; !input.empty(); sent = !sent) {
    const size_t length = std::min<size_t>(input.size() - 1, static_cast<uint8_t>(input.front()));
    const ByteSpan part = input.subspan(1, length);
    input = input.subspan(1 + length);
    if (sent) {
      whole.Sent(part);
      for (size_t i = 0; i < part.size(); ++i) bytewise.Sent(part.subspan(i, 1));
    } else {
      whole.Received(part);
      for (size_t i = 0; i < part.size(); ++i) bytewise.Received(part.subspan(i, 1));
    }
    whole.Taken(length);
    bytewise.Taken(length);
    whole.Tick();
    if (!Same(whole, bytewise)) std::abort();
    if (whole.unfinished() > whole.streams()) std::abort();
    // Every stream costs at least this; and a sum that fell below zero would be enormous.
    if (whole.held() < whole.streams() * Http2Meter::kStreamBytes) std::abort();
    if (whole.held() > (uint64_t{1} << 40)) std::abort();
  }
}

}  // namespace
}  // namespace nrtd::runtime

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  nrtd::runtime::Check({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
