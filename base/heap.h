// SPDX-License-Identifier: Apache-2.0
//
// What the C library's allocator keeps of memory that was freed: buffers of large messages are used
// again as they are, and go back to the system a second after the last one
// (runtime/service/memory_trimmer.h). These are glibc's settings: an operator who sets its
// environment (MALLOC_ARENA_MAX, MALLOC_TRIM_THRESHOLD_, MALLOC_MMAP_THRESHOLD_, or GLIBC_TUNABLES
// with glibc.malloc) has chosen, and those stay.
#pragma once

#include <cstdint>

#include "base/sizes.h"

namespace nrtd {

// One arena for all threads: a second one's free end cannot be given back, because malloc_trim()
// trims the end of the first only. Small blocks come from the threads' own caches, so the lock is
// taken some ten times an inference.
inline constexpr int kArenas = 1;
// Blocks below this size are kept for the next message instead of being mappings that are faulted
// in anew each time (by default the bound grows with what is freed, up to 32 MiB).
inline constexpr uint64_t kMinMappedBlock = 32 * kMiB;
// Free memory that the arena's end may keep until ReturnFreeMemory().
inline constexpr uint64_t kMaxFreeAtEnd = 8 * kMiB;

// Makes it so, before the process has other threads.
void LimitHeap();

// Gives the pages of all other free memory back to the system; they are faulted in when they are
// used again. Holds the arenas up one by one, longer the more pieces their free memory is in:
// below a millisecond mostly, some ten for 25,000 pieces. Threadsafe.
void ReturnFreeMemory();

// Bytes of the heap's blocks that are in use, without those that are mappings of their own.
// Threadsafe; as long as ReturnFreeMemory() without anything to return.
uint64_t HeapBytesInUse();

}  // namespace nrtd
