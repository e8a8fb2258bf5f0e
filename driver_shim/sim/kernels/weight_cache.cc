// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/weight_cache.h"

#include <algorithm>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace nrtd::sim {

WeightCache::Entry WeightCache::Find(const std::string& key) {
  MutexLock lock(mutex_);
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : found->second.lock();
}

WeightCache::Entry WeightCache::WithContentOf(const Content& content, Entry made) {
  std::vector<Entry> candidates;
  {
    MutexLock lock(mutex_);
    const auto [begin, end] = by_content_.equal_range(content);
    for (auto place = begin; place != end; ++place) {
      if (auto entry = place->second.lock()) candidates.push_back(std::move(entry));
    }
  }
  // The hash finds it, the bytes decide: a client that makes hashes collide gains nothing.
  for (Entry& candidate : candidates) {
    if (std::equal(made->data(), made->data() + made->size(), candidate->data()))
      return std::move(candidate);
  }
  return made;
}

WeightCache::Entry WeightCache::Get(const std::string& key, const Make& make) {
  if (Entry entry = Find(key)) return entry;
  const auto made = std::make_shared<const PackedWeights>(make());
  const Content content{made->size(), XXH3_64bits(made->data(), made->size())};
  const Entry entry = WithContentOf(content, made);
  MutexLock lock(mutex_);
  const auto has_gone = [](const auto& item) { return item.second.expired(); };
  std::erase_if(by_key_, has_gone);
  std::erase_if(by_content_, has_gone);
  auto& place = by_key_[key];
  if (auto other = place.lock()) return other;
  place = entry;
  if (entry == made) by_content_.emplace(content, entry);
  return entry;
}

uint64_t WeightCache::bytes() const {
  MutexLock lock(mutex_);
  uint64_t sum = 0;
  for (const auto& [content, weak] : by_content_) {
    if (const auto entry = weak.lock()) sum += entry->size();
  }
  return sum;
}

}  // namespace nrtd::sim
