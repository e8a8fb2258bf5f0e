// SPDX-License-Identifier: Apache-2.0
#include "memory/numa.h"

#include <algorithm>
#include <cerrno>
#include <memory>

#include <numa.h>
#include <numaif.h>

#include "base/log.h"

namespace nrtd::memory {
namespace {

bool Available() {
  static const bool available = ::numa_available() >= 0;
  return available;
}

}  // namespace

int NumaNodeCount() {
  return Available() ? std::max(1, ::numa_num_configured_nodes()) : 1;
}

bool NumaNodeExists(int node) {
  if (!Available()) return node == 0;
  return node >= 0 && node <= ::numa_max_node() &&
         ::numa_bitmask_isbitset(::numa_all_nodes_ptr, static_cast<unsigned>(node)) != 0;
}

Result<void> BindRange(MutableByteSpan range, int node) {
  if (!NumaNodeExists(node)) {
    return Fail(Nerr::kInvalid, "there is no NUMA node {}; `numactl --hardware` lists them", node);
  }
  const std::unique_ptr<bitmask, decltype(&::numa_bitmask_free)> nodes(::numa_allocate_nodemask(),
                                                                       &::numa_bitmask_free);
  ::numa_bitmask_setbit(nodes.get(), static_cast<unsigned>(node));
  if (::mbind(range.data(), range.size(), MPOL_BIND, nodes->maskp, nodes->size + 1,
              MPOL_MF_STRICT | MPOL_MF_MOVE) == 0)
    return {};
  if (errno == EPERM || errno == ENOSYS) {
    Log(LogLevel::kWarning, "NRTD:BindRange",
        "cannot bind {} bytes to NUMA node {}: {}; memory may be far from the device. Allow mbind "
        "(docker run --cap-add SYS_NICE) to mend it",
        range.size(), node, ErrnoText(errno));
    return {};
  }
  return Fail(Nerr::kResource, "cannot bind {} bytes to NUMA node {}: {}", range.size(), node,
              ErrnoText(errno));
}

Result<int> NodeOfPage(const void* address) {
  int node = 0;
  // The interface takes no const pointer but only looks.
  if (::get_mempolicy(&node, nullptr, 0, const_cast<void*>(address), MPOL_F_NODE | MPOL_F_ADDR) !=
      0) {
    return Fail(Nerr::kFail, "cannot tell the NUMA node of {}: {}", address, ErrnoText(errno));
  }
  return node;
}

}  // namespace nrtd::memory
