// SPDX-License-Identifier: Apache-2.0
//
// What the C library's allocator keeps of memory that was freed. These are the settings of glibc's:
// whoever sets its environment (MALLOC_ARENA_MAX, MALLOC_TRIM_THRESHOLD_, MALLOC_MMAP_THRESHOLD_,
// or GLIBC_TUNABLES with glibc.malloc) has chosen, and they stay.
#pragma once

#include <cstdint>

#include "base/sizes.h"

namespace nrtd {

// Arenas of all threads together: one a processor, at most so many. By default there are eight a
// processor. Small blocks come from the threads' own caches all the same.
inline constexpr int kMostArenas = 8;
// Blocks from this size on are mappings of their own and go back to the system when they are freed.
inline constexpr uint64_t kLeastMappedBlock = 512 * kKiB;
// An arena that has more free memory than this at its end gives that back. Not even
// ReturnFreeMemory() gets what is less, but in the first arena. (By default both sizes grow with
// what is freed, up to 32 and 64 MiB.)
inline constexpr uint64_t kMostFreeAtEnd = 1 * kMiB;

// Makes it so, before the process has other threads.
void LimitHeap();

// Gives the pages of all other free memory back to the system; they are faulted in when they are
// used again. Holds the arenas up one by one, longer the more pieces their free memory is in:
// below a millisecond mostly, some ten for 25,000 pieces. Threadsafe.
void ReturnFreeMemory();

}  // namespace nrtd
