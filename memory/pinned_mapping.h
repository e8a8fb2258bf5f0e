// SPDX-License-Identifier: Apache-2.0
//
// Host memory that a device may reach at any time: locked, and not copied by a fork(). Its pages
// are there once they have been faulted in. The backing of a HugePagePool, which is what to use.
#pragma once

#include <cstdint>
#include <memory>

#include "base/bytes.h"
#include "base/error.h"
#include "base/mapped_region.h"

namespace nrtd::memory {

// Move-only owner of one mapping whose start and size are multiples of kHugePageSize.
class PinnedMapping {
 public:
  // `pages` huge pages of 2 MiB, by libhugetlbfs. kResource when they are not to be had, with the
  // documented text and the remedy (hugepage_counts.h).
  static Result<PinnedMapping> MapHugePages(uint64_t pages, int numa_node);

  // The same amount in ordinary pages. kResource when the memory or the right to lock it is
  // missing.
  static Result<PinnedMapping> MapSmallPages(uint64_t pages, int numa_node);

  // Makes [offset, offset + size) present, where it stays; both multiples of kHugePageSize. A page
  // that was never touched before may raise SIGBUS, this answers kResource instead. Any thread.
  Result<void> FaultIn(uint64_t offset, uint64_t size) const;

  MutableByteSpan bytes() const;
  bool huge() const { return huge_ != nullptr; }

 private:
  struct FreeHugePages {
    void operator()(std::byte* data) const;
  };
  PinnedMapping() = default;

  std::unique_ptr<std::byte, FreeHugePages> huge_;
  MappedRegion small_;  // a page longer than size_, to start at a multiple of kHugePageSize in it
  uint64_t size_ = 0;
};

// Faults a range in, for writing or only for reading, and answers kResource where touching it would
// raise SIGBUS: memory of a hugetlbfs is exhausted or above a cgroup's limit.
Result<void> Populate(MutableByteSpan range, bool writable);

}  // namespace nrtd::memory
