// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/weight_cache.h"

#include <cstdlib>
#include <new>

#include "base/mapped_region.h"
#include "base/sizes.h"

namespace nrtd::sim {
namespace {

// Of the memory that is worth a page of its own.
constexpr uint64_t kLeastHuge = 2 * kMiB;

}  // namespace

std::byte* AllocateAligned(uint64_t size) {
  if (size == 0) return nullptr;
  const uint64_t alignment = size < kLeastHuge ? 64 : kLeastHuge;
  void* data = std::aligned_alloc(alignment, AlignUp(size, alignment));
  if (data == nullptr) throw std::bad_alloc();
  PreferHugePages(data, size);
  return static_cast<std::byte*>(data);
}

Result<std::shared_ptr<const PackedWeights>> WeightCache::Get(const std::string& key,
                                                              const Make& make) {
  {
    MutexLock lock(mutex_);
    if (auto found = entries_.find(key); found != entries_.end()) {
      if (auto entry = found->second.lock()) return entry;
    }
  }
  NRTD_ASSIGN(PackedWeights packed, make());
  auto entry = std::make_shared<const PackedWeights>(std::move(packed));
  MutexLock lock(mutex_);
  std::erase_if(entries_, [](const auto& item) { return item.second.expired(); });
  auto& place = entries_[key];
  if (auto other = place.lock()) return other;
  place = entry;
  return std::shared_ptr<const PackedWeights>(entry);
}

uint64_t WeightCache::bytes() const {
  MutexLock lock(mutex_);
  uint64_t sum = 0;
  for (const auto& [key, weak] : entries_) {
    if (auto entry = weak.lock()) sum += entry->size;
  }
  return sum;
}

}  // namespace nrtd::sim
