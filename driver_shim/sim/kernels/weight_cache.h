// SPDX-License-Identifier: Apache-2.0
//
// Packed weights, shared by every program that uses the same weights in the same way: replicas of a
// network on other cores or devices hold one copy.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/aligned_memory.h"
#include "base/mutex.h"

namespace nrtd::sim {

using PackedWeights = AlignedMemory;

// Threadsafe. Entries live as long as somebody holds them.
class WeightCache {
 public:
  using Make = std::function<PackedWeights()>;

  // The entry of this name, which says which bytes are packed into which form, packed by `make` if
  // nobody has it. Two callers that miss at once both pack; the first result stays. What `make`
  // throws ends it.
  std::shared_ptr<const PackedWeights> Get(const std::string& key, const Make& make);

  // Bytes held by live entries.
  uint64_t bytes() const;

 private:
  mutable Mutex mutex_;
  std::map<std::string, std::weak_ptr<const PackedWeights>> entries_ NRTD_GUARDED_BY(mutex_);
};

}  // namespace nrtd::sim
