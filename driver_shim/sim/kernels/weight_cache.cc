// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/weight_cache.h"

#include <utility>

namespace nrtd::sim {
std::shared_ptr<const PackedWeights> WeightCache::Get(const std::string& key, const Make& make) {
  {
    MutexLock lock(mutex_);
    if (auto found = entries_.find(key); found != entries_.end()) {
      if (auto entry = found->second.lock()) return entry;
    }
  }
  auto entry = std::make_shared<const PackedWeights>(make());
  MutexLock lock(mutex_);
  std::erase_if(entries_, [](const auto& item) { return item.second.expired(); });
  auto& place = entries_[key];
  if (auto other = place.lock()) return other;
  place = entry;
  return entry;
}

uint64_t WeightCache::bytes() const {
  MutexLock lock(mutex_);
  uint64_t sum = 0;
  for (const auto& [key, weak] : entries_) {
    if (auto entry = weak.lock()) sum += entry->size();
  }
  return sum;
}

}  // namespace nrtd::sim
