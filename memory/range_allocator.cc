// SPDX-License-Identifier: Apache-2.0
#include "memory/range_allocator.h"

#include <cassert>
#include <iterator>

#include "base/sizes.h"

namespace nrtd::memory {
namespace {

// The lowest address in the free block [address, address + size) that satisfies the request.
std::optional<uint64_t> Fit(uint64_t address, uint64_t size, const RangeRequest& request) {
  const auto aligned_in_block = [&](uint64_t from, uint64_t alignment) -> std::optional<uint64_t> {
    if (!CheckedAdd(from, alignment - 1)) return std::nullopt;
    const uint64_t start = AlignUp(from, alignment);
    if (!RangeFits(start - address, request.size, size)) return std::nullopt;
    return start;
  };
  const auto start = aligned_in_block(address, request.alignment);
  if (!start || request.boundary == 0 || request.size > request.boundary) return start;
  const uint64_t last = *start + request.size - 1;
  if (*start / request.boundary == last / request.boundary) return start;
  // It crosses, so its alignment is less than the boundary: the boundary is aligned well enough.
  return aligned_in_block(*start, request.boundary);
}

}  // namespace

RangeAllocator::RangeAllocator(uint64_t base, uint64_t size) : size_(size) {
  assert(CheckedAdd(base, size));
  if (size != 0) Insert(base, size);
}

std::optional<uint64_t> RangeAllocator::Allocate(const RangeRequest& request) {
  assert(request.size != 0 && IsPowerOfTwo(request.alignment));
  for (auto it = by_size_.lower_bound({request.size, 0}); it != by_size_.end(); ++it) {
    const auto [block_size, block] = *it;
    const auto start = Fit(block, block_size, request);
    if (!start) continue;
    Erase(by_address_.find(block));
    if (*start != block) Insert(block, *start - block);
    const uint64_t end = *start + request.size;
    if (end != block + block_size) Insert(end, block + block_size - end);
    return start;
  }
  return std::nullopt;
}

void RangeAllocator::Free(uint64_t address, uint64_t size) {
  auto next = by_address_.lower_bound(address);
  assert(next == by_address_.end() || address + size <= next->first);
  if (next != by_address_.end() && address + size == next->first) {
    size += next->second;
    Erase(next++);
  }
  if (next != by_address_.begin()) {
    const auto previous = std::prev(next);
    assert(previous->first + previous->second <= address);
    if (previous->first + previous->second == address) {
      address = previous->first;
      size += previous->second;
      Erase(previous);
    }
  }
  Insert(address, size);
}

uint64_t RangeAllocator::largest_free() const {
  return by_size_.empty() ? 0 : by_size_.rbegin()->first;
}

void RangeAllocator::Insert(uint64_t address, uint64_t size) {
  by_address_.emplace(address, size);
  by_size_.emplace(size, address);
  free_bytes_ += size;
}

void RangeAllocator::Erase(std::map<uint64_t, uint64_t>::iterator block) {
  free_bytes_ -= block->second;
  by_size_.erase({block->second, block->first});
  by_address_.erase(block);
}

}  // namespace nrtd::memory
