// SPDX-License-Identifier: Apache-2.0
//
// Who talks to the daemon.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "base/file_rights.h"
#include "base/unique_fd.h"
#include "runtime/ledger/ledger.h"
#include "scheduler/owner.h"

namespace nrtd::runtime {

// The process at the other end of a connection when it connected. Fixed from then on: what the
// process does later, and who gets its pid after it, changes nothing.
struct Peer {
  pid_t pid = 0;  // 0: in a pid namespace that the daemon does not see, as in another container
  uid_t uid = 0;
  gid_t gid = 0;
  std::string cgroup;  // its path in the unified hierarchy, "" when it is not known
  // When the process started, in the kernel's clock ticks since boot: a pid is used again, the two
  // together are not. 0 when it is not known for certain.
  uint64_t start_ticks = 0;
  // The process's number in pidfs (Linux 6.9): never used again while the machine runs, and known
  // across pid namespaces. 0 on older kernels.
  uint64_t pidfs_inode = 0;
  // Of the process (Linux 6.5); null where the kernel gives none. poll() and epoll report EPOLLIN
  // once the process has ended, and from then on; there is nothing to read. Threadsafe.
  std::shared_ptr<const UniqueFd> pidfd;
  std::vector<gid_t> groups;  // supplementary ones, kMaxPeerGroups at most
};

// One connection. Made when it is accepted, constant since.
struct Client {
  scheduler::SessionId connection = 0;  // from kFirstConnection; 0: it came by TCP
  scheduler::ProcessKey process = scheduler::kAnyProcess;
  Peer peer;
  int descriptor = -1;  // of the connection, by which the meter of its socket goes; -1: none
  // What the process holds; null for a client that has gone.
  std::shared_ptr<ClientAccount> account = {};

  // "pid 4711 uid 0", or "connection 7 uid 0" where the pid is not known: for log lines.
  std::string Text() const;
};

// In whose name a file that the client names is opened. By TCP, and of a client that has gone:
// nobody's.
FileUser FileUserOf(const Client& client);

// Connections are numbered from here; sessions never come so far (runtime/state/ids.h).
inline constexpr scheduler::SessionId kFirstConnection = scheduler::SessionId{1} << 63;
using scheduler::kNoProcess;

// The same for all connections of a process: its number in pidfs, else its pid and start. Where
// neither is known for certain, of this connection alone. The three kinds never collide, nor with
// kAnyProcess and kNoProcess.
scheduler::ProcessKey ProcessKeyOf(const Peer& peer, scheduler::SessionId connection);
// Whether a key is of one connection alone: the end of its process cannot be told from the end of
// the connection.
bool IsConnectionAlone(scheduler::ProcessKey key);

}  // namespace nrtd::runtime
