// SPDX-License-Identifier: Apache-2.0
//
// What a HugePagePool and its DmaBuffers share, and what the last of them frees. Internal to
// memory/.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "memory/hugepage_pool.h"
#include "memory/pagemap.h"
#include "memory/pinned_mapping.h"
#include "memory/range_allocator.h"

namespace nrtd::memory {

class PoolState {
 public:
  // kResource when physical addresses are asked for and cannot be read at all.
  static Result<std::shared_ptr<PoolState>> Create(PinnedMapping mapping, BusAddressing addressing,
                                                   std::shared_ptr<const Pagemap> pagemap,
                                                   OnPage on_page);

  // Faults the next page in, finds out its bus address, shows it to `on_page` and lets it be taken.
  // False: there is none left. After an error the pool stays with the pages that it has.
  Result<bool> AddPage() NRTD_EXCLUDES(mutex_);
  // All pages are ready.
  bool complete() NRTD_EXCLUDES(mutex_);
  // Nobody will add pages any more.
  void StopAdding() NRTD_EXCLUDES(mutex_);

  // An offset in the pool, whose pages are there: adds them, or answers what kept them away. The
  // arguments have been checked.
  Result<uint64_t> Take(uint64_t size, uint64_t alignment) NRTD_EXCLUDES(mutex_);
  void Give(uint64_t offset, uint64_t size) NRTD_EXCLUDES(mutex_);
  PoolStats Stats() NRTD_EXCLUDES(mutex_);

  MutableByteSpan bytes() const { return mapping_.bytes(); }
  // Adds all that are missing.
  const std::vector<PoolPage>& pages() NRTD_EXCLUDES(mutex_);
  bool huge() const { return mapping_.huge(); }
  BusAddressing addressing() const { return addressing_; }
  // Of an offset that has been taken.
  uint64_t BusAddress(uint64_t offset) const {
    return pages_[offset / kHugePageSize].bus_address + offset % kHugePageSize;
  }

 private:
  PoolState(PinnedMapping mapping, BusAddressing addressing, std::shared_ptr<const Pagemap> pagemap,
            OnPage on_page);
  Result<void> Prepare(PoolPage& page) const;
  // Of the pages from `first` to `last` inclusive.
  bool Ready(uint64_t first, uint64_t last) const NRTD_REQUIRES(mutex_);
  Result<void> MakeReady(uint64_t first, uint64_t last) NRTD_REQUIRES(mutex_);

  const PinnedMapping mapping_;
  const BusAddressing addressing_;
  const std::shared_ptr<const Pagemap> pagemap_;  // where addresses are physical
  const OnPage on_page_;
  std::vector<PoolPage> pages_;  // an entry is constant once it is ready
  Mutex mutex_;
  CondVar changed_;
  uint64_t next_page_ NRTD_GUARDED_BY(mutex_) = 0;  // the first that nobody has begun to add
  uint64_t adding_ NRTD_GUARDED_BY(mutex_) = 0;     // begun and not ended
  std::vector<bool> ready_ NRTD_GUARDED_BY(mutex_);
  std::optional<Error> failure_ NRTD_GUARDED_BY(mutex_);  // no page comes after it
  RangeAllocator ranges_ NRTD_GUARDED_BY(mutex_);
  uint64_t high_water_ NRTD_GUARDED_BY(mutex_) = 0;
};

}  // namespace nrtd::memory
