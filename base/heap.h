// SPDX-License-Identifier: Apache-2.0
//
// What the C library's allocator keeps of memory that was freed.
#pragma once

namespace nrtd {

// As many arenas as there are processors, at most kMostArenas, for the whole process. glibc makes
// eight a processor otherwise, and each keeps some megabytes of its own; small blocks come from the
// threads' caches all the same. Before the process has other threads.
void LimitArenas();
inline constexpr int kMostArenas = 8;

// Gives the system back the pages of all free memory, which is faulted in again when it is used
// again. Holds the arenas up one by one, for some hundred microseconds in all. Threadsafe.
void ReturnFreeMemory();

}  // namespace nrtd
