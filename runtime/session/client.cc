// SPDX-License-Identifier: Apache-2.0
#include "runtime/session/client.h"

#include <fmt/format.h>

namespace nrtd::runtime {
namespace {

// The two top bits say what the others are: 00 a pid and a start, 01 a number in pidfs, 1x a
// connection.
constexpr uint64_t kConnectionKind = uint64_t{1} << 63;
constexpr uint64_t kPidfsKind = uint64_t{1} << 62;
// A pid has 22 bits at most (the kernel's PID_MAX_LIMIT); 40 bits of ticks are 340 years.
constexpr int kPidBits = 22;
constexpr int kTickBits = 40;
static_assert(kPidBits + kTickBits == 62);

bool Fits(uint64_t value, int bits) {
  return value != 0 && value >> bits == 0;
}

}  // namespace

scheduler::ProcessKey ProcessKeyOf(const Peer& peer, scheduler::SessionId connection) {
  if (Fits(peer.pidfs_inode, 62)) return kPidfsKind | peer.pidfs_inode;
  if (peer.pid > 0 && Fits(static_cast<uint64_t>(peer.pid), kPidBits) &&
      Fits(peer.start_ticks, kTickBits))
    return (static_cast<uint64_t>(peer.pid) << kTickBits) | peer.start_ticks;
  return kConnectionKind | connection;
}

bool IsConnectionAlone(scheduler::ProcessKey key) {
  return (key & kConnectionKind) != 0 && key != kNoProcess;
}

FileUser FileUserOf(const Client& client) {
  if (client.connection == 0) return {};
  return FileUser::Of(client.peer.uid, client.peer.gid, client.peer.groups);
}

std::string Client::Text() const {
  if (connection == 0) return "a client by TCP";
  if (peer.pid > 0) return fmt::format("pid {} uid {}", peer.pid, peer.uid);
  return fmt::format("connection {} uid {}", connection - kFirstConnection, peer.uid);
}

}  // namespace nrtd::runtime
