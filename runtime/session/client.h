// SPDX-License-Identifier: Apache-2.0
//
// Who talks to the daemon.
#pragma once

#include <cstdint>
#include <string>

#include <sys/types.h>

#include "scheduler/owner.h"

namespace nrtd::runtime {

// The process at the other end of a connection when it connected, by SO_PEERCRED.
struct Peer {
  pid_t pid = 0;  // 0: in a pid namespace that the daemon does not see, as in another container
  uid_t uid = 0;
  gid_t gid = 0;
  std::string cgroup;  // its path in the unified hierarchy, "" when it is not known
  // When the process started, in the kernel's clock ticks since boot: a pid is used again, the two
  // together are not. 0 when it is not known.
  uint64_t start_ticks = 0;
};

// One connection. Made when it is accepted, constant since.
struct Client {
  scheduler::SessionId connection = 0;  // from kFirstConnection; 0: it came by TCP
  scheduler::ProcessKey process = scheduler::kAnyProcess;
  Peer peer;

  // "pid 4711 uid 0", or "connection 7 uid 0" where the pid is not known: for log lines.
  std::string Text() const;
};

// Connections are numbered from here, sessions from 1.
inline constexpr scheduler::SessionId kFirstConnection = scheduler::SessionId{1} << 32;
using scheduler::kNoProcess;

// The same for all connections of a process; where the pid is not known, of this connection alone.
scheduler::ProcessKey ProcessKeyOf(const Peer& peer, scheduler::SessionId connection);

}  // namespace nrtd::runtime
