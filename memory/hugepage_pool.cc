// SPDX-License-Identifier: Apache-2.0
#include "memory/hugepage_pool.h"

#include <utility>
#include <vector>

#include "base/log.h"
#include "base/sizes.h"
#include "memory/pagemap.h"
#include "memory/pool_state.h"

namespace nrtd::memory {
namespace {

Result<PinnedMapping> MapPages(uint64_t pages, const PoolOptions& options) {
  if (options.only_small_pages) return PinnedMapping::MapSmallPages(pages, options.numa_node);
  auto huge = PinnedMapping::MapHugePages(pages, options.numa_node);
  if (huge || !options.allow_small_pages) return huge;
  auto small = PinnedMapping::MapSmallPages(pages, options.numa_node);
  if (!small) {
    return Fail(small.error().code, "{}; and instead of huge pages: {}", huge.error().text,
                small.error().text);
  }
  Log(LogLevel::kWarning, "NRTD:HugePagePool", "using ordinary pages: {}", huge.error().text);
  return small;
}

Result<std::vector<PoolPage>> ResolvePages(MutableByteSpan bytes, BusAddressing addressing) {
  std::vector<PoolPage> pages;
  pages.reserve(bytes.size() / kHugePageSize);
  for (uint64_t at = 0; at < bytes.size(); at += kHugePageSize) {
    std::byte* data = bytes.data() + at;
    pages.push_back({data, reinterpret_cast<uintptr_t>(data), kHugePageSize});
  }
  if (addressing == BusAddressing::kVirtual) return pages;
  NRTD_ASSIGN(const Pagemap pagemap, Pagemap::Open());
  for (PoolPage& page : pages) {
    NRTD_ASSIGN(page.bus_address, pagemap.PhysicalAddress(page.data));
    if (page.bus_address % kHugePageSize != 0) {
      return Fail(Nerr::kFail, "the page at {} is no huge page: its physical address is {:#x}",
                  static_cast<void*>(page.data), page.bus_address);
    }
  }
  return pages;
}

}  // namespace

Result<uint64_t> PoolState::Take(uint64_t size, uint64_t alignment) {
  MutexLock lock(mutex_);
  const auto offset =
      ranges_.Allocate({.size = size, .alignment = alignment, .boundary = kHugePageSize});
  if (!offset) {
    return Fail(Nerr::kResource,
                "Failed to alloc hugetlb: wanted {} bytes aligned to {}, free {} of {}, largest "
                "free block {}; unload a network or give the daemon more huge pages",
                size, alignment, ranges_.free_bytes(), ranges_.size(), ranges_.largest_free());
  }
  high_water_ = std::max(high_water_, ranges_.size() - ranges_.free_bytes());
  return *offset;
}

void PoolState::Give(uint64_t offset, uint64_t size) {
  MutexLock lock(mutex_);
  ranges_.Free(offset, size);
}

PoolStats PoolState::Stats() {
  MutexLock lock(mutex_);
  return {.total_bytes = ranges_.size(),
          .used_bytes = ranges_.size() - ranges_.free_bytes(),
          .high_water_bytes = high_water_,
          .largest_free_bytes = ranges_.largest_free(),
          .free_blocks = ranges_.free_blocks()};
}

Result<std::unique_ptr<HugePagePool>> HugePagePool::Create(const PoolOptions& options) {
  const auto pages = CheckedMultiply(options.pages_per_device, options.devices);
  // One page more is added where small pages are aligned.
  const auto bytes = pages ? CheckedMultiply(*pages, 2 * kHugePageSize) : std::nullopt;
  if (!bytes || *bytes == 0) {
    return Fail(Nerr::kInvalid, "a pool of {} pages for each of {} devices is impossible",
                options.pages_per_device, options.devices);
  }
  NRTD_ASSIGN(PinnedMapping mapping, MapPages(*pages, options));
  // The kernel may move a small page although it is locked (it compacts memory).
  const BusAddressing addressing = mapping.huge() ? options.addressing : BusAddressing::kVirtual;
  NRTD_ASSIGN(std::vector<PoolPage> resolved, ResolvePages(mapping.bytes(), addressing));
  return std::unique_ptr<HugePagePool>(new HugePagePool(
      std::make_shared<PoolState>(std::move(mapping), std::move(resolved), addressing)));
}

Result<DmaBuffer> HugePagePool::Allocate(uint64_t size, uint64_t alignment) {
  if (size == 0) return Fail(Nerr::kInvalid, "a DMA buffer of 0 bytes was asked for");
  if (!IsPowerOfTwo(alignment) || alignment > kHugePageSize) {
    return Fail(Nerr::kInvalid, "a DMA buffer cannot be aligned to {}: use a power of two up to {}",
                alignment, kHugePageSize);
  }
  NRTD_ASSIGN(const uint64_t offset, state_->Take(size, alignment));
  return DmaBuffer(state_, offset, size);
}

std::span<const PoolPage> HugePagePool::pages() const {
  return state_->pages();
}
bool HugePagePool::uses_huge_pages() const {
  return state_->huge();
}
BusAddressing HugePagePool::addressing() const {
  return state_->addressing();
}
PoolStats HugePagePool::Stats() const {
  return state_->Stats();
}

}  // namespace nrtd::memory
