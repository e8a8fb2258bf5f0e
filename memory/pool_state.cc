// SPDX-License-Identifier: Apache-2.0
#include "memory/pool_state.h"

#include <algorithm>
#include <utility>

#include "base/sizes.h"

namespace nrtd::memory {

Result<std::shared_ptr<PoolState>> PoolState::Create(PinnedMapping mapping,
                                                     BusAddressing addressing,
                                                     std::shared_ptr<const Pagemap> pagemap,
                                                     OnPage on_page) {
  if (addressing == BusAddressing::kVirtual) {
    pagemap = nullptr;
  } else if (pagemap == nullptr) {
    NRTD_ASSIGN(Pagemap opened, Pagemap::Open());
    pagemap = std::make_shared<const Pagemap>(std::move(opened));
  }
  return std::shared_ptr<PoolState>(
      new PoolState(std::move(mapping), addressing, std::move(pagemap), std::move(on_page)));
}

PoolState::PoolState(PinnedMapping mapping, BusAddressing addressing,
                     std::shared_ptr<const Pagemap> pagemap, OnPage on_page)
    : mapping_(std::move(mapping)),
      addressing_(addressing),
      pagemap_(std::move(pagemap)),
      on_page_(std::move(on_page)),
      ranges_(0, mapping_.bytes().size()) {
  const MutableByteSpan bytes = mapping_.bytes();
  pages_.reserve(bytes.size() / kHugePageSize);
  for (uint64_t at = 0; at < bytes.size(); at += kHugePageSize)
    pages_.push_back({bytes.data() + at, 0, kHugePageSize});
  ready_.resize(pages_.size());
}

Result<void> PoolState::Prepare(PoolPage& page) const {
  NRTD_TRY(
      mapping_.FaultIn(static_cast<uint64_t>(page.data - mapping_.bytes().data()), kHugePageSize));
  uint64_t address = reinterpret_cast<uintptr_t>(page.data);
  if (pagemap_) {
    NRTD_ASSIGN(address, pagemap_->PhysicalAddress(page.data));
    if (address % kHugePageSize != 0) {
      return Fail(Nerr::kFail, "the page at {} is no huge page: its physical address is {:#x}",
                  static_cast<void*>(page.data), address);
    }
  }
  page.bus_address = address;
  return on_page_ ? on_page_(page) : Result<void>{};
}

Result<bool> PoolState::AddPage() {
  uint64_t index = 0;
  {
    MutexLock lock(mutex_);
    if (failure_ || next_page_ == pages_.size()) return false;
    index = next_page_++;
    ++adding_;
  }
  const auto prepared = Prepare(pages_[index]);
  MutexLock lock(mutex_);
  --adding_;
  if (prepared) {
    ready_[index] = true;
  } else if (!failure_) {
    failure_ = prepared.error();
  }
  changed_.NotifyAll();
  if (!prepared) return tl::unexpected<Error>(prepared.error());
  return true;
}

bool PoolState::complete() {
  MutexLock lock(mutex_);
  return Ready(0, ready_.size() - 1);
}

void PoolState::StopAdding() {
  MutexLock lock(mutex_);
  if (!failure_) failure_ = Error{Nerr::kFail, "the pool of huge pages is closed"};
  changed_.NotifyAll();
}

bool PoolState::Ready(uint64_t first, uint64_t last) const {
  return std::all_of(ready_.begin() + static_cast<ptrdiff_t>(first),
                     ready_.begin() + static_cast<ptrdiff_t>(last) + 1,
                     [](bool ready) { return ready; });
}

Result<void> PoolState::MakeReady(uint64_t first, uint64_t last) {
  while (!Ready(first, last)) {
    if (failure_ && adding_ == 0) return tl::unexpected<Error>(*failure_);
    if (failure_ || next_page_ > last) {
      changed_.Wait(mutex_);
      continue;
    }
    mutex_.Unlock();
    (void)AddPage();  // the loop looks at what came of it
    mutex_.Lock();
  }
  return {};
}

const std::vector<PoolPage>& PoolState::pages() {
  MutexLock lock(mutex_);
  // Those that never came show it by their address.
  (void)MakeReady(0, pages_.size() - 1);
  return pages_;
}

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
  const uint64_t last_byte = *offset + size - 1;
  if (auto ready = MakeReady(*offset / kHugePageSize, last_byte / kHugePageSize); !ready) {
    ranges_.Free(*offset, size);
    return Fail(ready.error().code, "Failed to alloc hugetlb: {}", AsIs(ready.error().text));
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

}  // namespace nrtd::memory
