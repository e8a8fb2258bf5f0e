// SPDX-License-Identifier: Apache-2.0
//
// Space in a device's DRAM: a channel is one DramAllocator. A request gets exactly what it asks for
// or fails; nothing is moved, split or evicted. Pure bookkeeping, deterministic, threadsafe.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/error.h"

namespace nrtd::memory {

class DramState;

// A part of the range, free again when this is destroyed. Empty after a move. It may outlive its
// allocator.
class DramBlock {
 public:
  DramBlock() = default;
  DramBlock(DramBlock&& other) noexcept;
  DramBlock& operator=(DramBlock&& other) noexcept;
  DramBlock(const DramBlock&) = delete;
  DramBlock& operator=(const DramBlock&) = delete;
  ~DramBlock() { Release(); }

  uint64_t address() const { return address_; }
  uint64_t size() const { return size_; }
  explicit operator bool() const { return state_ != nullptr; }

 private:
  friend class DramAllocator;
  DramBlock(std::shared_ptr<DramState> state, uint64_t address, uint64_t size)
      : state_(std::move(state)), address_(address), size_(size) {}
  void Release();

  std::shared_ptr<DramState> state_;
  uint64_t address_ = 0;
  uint64_t size_ = 0;
};

struct Fragmentation {
  uint64_t free_bytes = 0;
  uint64_t largest_free = 0;
  uint64_t blocks = 0;  // free ones
  double ratio = 0;     // 1 - largest_free / free_bytes; 0 when nothing is free
};

class DramAllocator {
 public:
  // Over [base, base + size). kInvalid when that is empty or overflows.
  static Result<DramAllocator> Create(uint64_t base, uint64_t size);

  // kInvalid: size 0, or an alignment that is no power of two. kResource: no free block holds it;
  // the text begins "Failed to allocate buffer in MLA DRAM for {what}". `what` names the buffer for
  // whoever reads that: "weights of sg00".
  Result<DramBlock> Allocate(uint64_t size, uint64_t alignment, std::string_view what);

  uint64_t base() const;
  uint64_t size() const;
  uint64_t used_bytes() const;
  Fragmentation GetFragmentation() const;

 private:
  explicit DramAllocator(std::shared_ptr<DramState> state) : state_(std::move(state)) {}
  std::shared_ptr<DramState> state_;
};

}  // namespace nrtd::memory
