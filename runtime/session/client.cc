// SPDX-License-Identifier: Apache-2.0
#include "runtime/session/client.h"

#include <fmt/format.h>

namespace nrtd::runtime {
namespace {

// A pid has 22 bits at most (the kernel's PID_MAX_LIMIT); 41 bits of ticks are 700 years.
constexpr int kTickBits = 41;
constexpr uint64_t kUnknownPid = uint64_t{1} << 63;

}  // namespace

scheduler::ProcessKey ProcessKeyOf(const Peer& peer, scheduler::SessionId connection) {
  if (peer.pid <= 0 || peer.start_ticks == 0) return kUnknownPid | connection;
  const uint64_t ticks = peer.start_ticks & ((uint64_t{1} << kTickBits) - 1);
  return (static_cast<uint64_t>(peer.pid) << kTickBits) | ticks;
}

std::string Client::Text() const {
  if (connection == 0) return "a client by TCP";
  if (peer.pid > 0) return fmt::format("pid {} uid {}", peer.pid, peer.uid);
  return fmt::format("connection {} uid {}", connection - kFirstConnection, peer.uid);
}

}  // namespace nrtd::runtime
