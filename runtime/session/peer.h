// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "runtime/session/client.h"

namespace nrtd::runtime {

// A client in more supplementary groups than this is not served: every connection remembers them,
// and to forget some could give a right (mode 0604 shuts a member of the file's group out).
inline constexpr size_t kMaxPeerGroups = 1024;

// What kernels know of a peer beyond its pid.
enum class PidfdSupport {
  kNone,       // nothing: Linux before 6.5
  kAnonymous,  // SO_PEERPIDFD, all descriptors with one inode: 6.5 to 6.8
  kPidfs,      // a pidfd's inode number is the process's own: from 6.9 on
};

// Who connected to a unix socket: SO_PEERCRED, SO_PEERGROUPS and SO_PEERPIDFD of `descriptor`, and
// what /proc says of that process. No more than `support` is used, and what the kernel has of it.
//
// What /proc said is the peer's for certain if the pidfd shows afterwards that the process still
// lives. Without a pidfd the start is read twice and the owner compared; what remains is a pid that
// is used again between connect() and this call, by a process of the same user, which takes a
// client that forks through the whole range of pids meanwhile. Start and cgroup are unknown when
// the process has ended, may have been another, or is in a pid namespace that the daemon does not
// see.
//
// kFail when the kernel does not know the peer, kResource when there is no descriptor left for the
// pidfd or the peer is in too many groups.
Result<Peer> ReadPeer(int descriptor, PidfdSupport support = PidfdSupport::kPidfs);

// Out of /proc/PID/cgroup: the path in the unified hierarchy, else the first one; "" for neither.
std::string CgroupOf(std::string_view cgroup_file);
// Out of /proc/PID/stat: field 22, behind a name that may hold anything. 0 when it is malformed.
uint64_t StartTicksOf(std::string_view stat_file);

}  // namespace nrtd::runtime
