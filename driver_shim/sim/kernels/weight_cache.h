// SPDX-License-Identifier: Apache-2.0
//
// Packed weights, shared by every program that uses the same weights in the same way: replicas of a
// network on other cores or devices hold one copy, and so do networks from different NEFFs whose
// weights are equal, such as those for several batch sizes.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/aligned_memory.h"
#include "base/mutex.h"

namespace nrtd::sim {

using PackedWeights = AlignedMemory;

// Threadsafe. Entries live as long as somebody holds them.
class WeightCache {
 public:
  using Make = std::function<PackedWeights()>;

  // The entry of this name, which says which bytes are packed into which form, packed by `make` if
  // there is none. If another name's entry has the same bytes, that entry is returned and the new
  // copy is freed. Two callers that miss at once both pack; the first result stays. What `make`
  // throws ends it.
  std::shared_ptr<const PackedWeights> Get(const std::string& key, const Make& make);

  // Bytes held by live entries, each once.
  uint64_t bytes() const;

 private:
  using Entry = std::shared_ptr<const PackedWeights>;
  using Content = std::pair<uint64_t, uint64_t>;  // size and XXH3
  Entry Find(const std::string& key);
  // An entry with the same bytes, or `made`.
  Entry WithContentOf(const Content& content, Entry made);

  mutable Mutex mutex_;
  std::map<std::string, std::weak_ptr<const PackedWeights>> by_key_ NRTD_GUARDED_BY(mutex_);
  std::multimap<Content, std::weak_ptr<const PackedWeights>> by_content_ NRTD_GUARDED_BY(mutex_);
};

}  // namespace nrtd::sim
