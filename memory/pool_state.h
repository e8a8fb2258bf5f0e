// SPDX-License-Identifier: Apache-2.0
//
// What a HugePagePool and its DmaBuffers share, and what the last of them frees. Internal to
// memory/.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "memory/hugepage_pool.h"
#include "memory/pinned_mapping.h"
#include "memory/range_allocator.h"

namespace nrtd::memory {

class PoolState {
 public:
  // One entry of `pages` for each kHugePageSize of the mapping.
  PoolState(PinnedMapping mapping, std::vector<PoolPage> pages, BusAddressing addressing)
      : mapping_(std::move(mapping)),
        pages_(std::move(pages)),
        addressing_(addressing),
        ranges_(0, mapping_.bytes().size()) {}

  // An offset in the pool. The arguments have been checked.
  Result<uint64_t> Take(uint64_t size, uint64_t alignment) NRTD_EXCLUDES(mutex_);
  void Give(uint64_t offset, uint64_t size) NRTD_EXCLUDES(mutex_);
  PoolStats Stats() NRTD_EXCLUDES(mutex_);

  MutableByteSpan bytes() const { return mapping_.bytes(); }
  const std::vector<PoolPage>& pages() const { return pages_; }
  bool huge() const { return mapping_.huge(); }
  BusAddressing addressing() const { return addressing_; }
  uint64_t BusAddress(uint64_t offset) const {
    return pages_[offset / kHugePageSize].bus_address + offset % kHugePageSize;
  }

 private:
  const PinnedMapping mapping_;
  const std::vector<PoolPage> pages_;
  const BusAddressing addressing_;
  Mutex mutex_;
  RangeAllocator ranges_ NRTD_GUARDED_BY(mutex_);
  uint64_t high_water_ NRTD_GUARDED_BY(mutex_) = 0;
};

}  // namespace nrtd::memory
