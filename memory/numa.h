// SPDX-License-Identifier: Apache-2.0
//
// Placement of host memory near a device, by libnuma.
#pragma once

#include "base/bytes.h"
#include "base/error.h"

namespace nrtd::memory {

inline constexpr int kAnyNumaNode = -1;

// At least 1, also where the kernel knows nothing of NUMA.
int NumaNodeCount();
bool NumaNodeExists(int node);

// From now on the pages of this page-aligned range come from `node` only, and those that are
// present elsewhere are moved. kInvalid for a node that does not exist, kResource when pages cannot
// be moved. Where the kernel or a container's seccomp profile withholds the call (Docker's does,
// without CAP_SYS_NICE), it logs a warning and succeeds: the memory is only farther away.
Result<void> BindRange(MutableByteSpan range, int node);

// The node that holds the page of `address`, which must be present. kFail when the kernel does not
// tell.
Result<int> NodeOfPage(const void* address);

}  // namespace nrtd::memory
