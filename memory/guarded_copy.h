// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace nrtd::memory {

// Copies `bytes` between memory of ours and a mapping of a client's file. The client may truncate
// its file at any moment, also in the middle of the copy, and then the kernel sends SIGBUS to
// whoever touches the page: that ends this copy and nothing else. False then; how much was copied
// is not known. Threadsafe. The first call installs a handler of SIGBUS, which passes on what is
// not from here.
bool GuardedCopy(void* to, const void* from, uint64_t bytes);

}  // namespace nrtd::memory
