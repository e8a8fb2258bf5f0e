// SPDX-License-Identifier: Apache-2.0
//
// Who holds which part of an address range: bookkeeping only, there is no memory behind it. Best
// fit, ties to the lower address, freed neighbours joined at once; the same calls give the same
// addresses. Not threadsafe: its owner holds a lock. DmaBuffer and DramBlock are its users.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace nrtd::memory {

struct RangeRequest {
  uint64_t size = 0;       // > 0
  uint64_t alignment = 1;  // a power of two; of the address, not of the offset in the range
  // Not 0 (then a power of two): a request of at most this size does not cross a multiple of it.
  uint64_t boundary = 0;
};

class RangeAllocator {
 public:
  // [base, base + size), which must not overflow.
  RangeAllocator(uint64_t base, uint64_t size);

  // The address, or nothing when no free block can hold the request.
  std::optional<uint64_t> Allocate(const RangeRequest& request);
  // What Allocate returned, with the size it was asked for, once.
  void Free(uint64_t address, uint64_t size);

  uint64_t size() const { return size_; }
  uint64_t free_bytes() const { return free_bytes_; }
  uint64_t largest_free() const;
  uint64_t free_blocks() const { return by_address_.size(); }

 private:
  void Insert(uint64_t address, uint64_t size);
  void Erase(std::map<uint64_t, uint64_t>::iterator block);

  uint64_t size_;
  uint64_t free_bytes_ = 0;
  std::map<uint64_t, uint64_t> by_address_;          // free blocks: address, size
  std::set<std::pair<uint64_t, uint64_t>> by_size_;  // the same: size, address
};

}  // namespace nrtd::memory
