// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "runtime/session/client.h"

namespace nrtd::runtime {

// Who connected to a unix socket: SO_PEERCRED of `descriptor`, and what /proc says of that process
// now. The cgroup and the start are unknown when it has ended already or is in another pid
// namespace. kFail when the kernel does not know the peer.
Result<Peer> ReadPeer(int descriptor);

// Out of /proc/PID/cgroup: the path in the unified hierarchy, else the first one; "" for neither.
std::string CgroupOf(std::string_view cgroup_file);
// Out of /proc/PID/stat: field 22, behind a name that may hold anything. 0 when it is malformed.
uint64_t StartTicksOf(std::string_view stat_file);

}  // namespace nrtd::runtime
