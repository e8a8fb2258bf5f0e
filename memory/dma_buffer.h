// SPDX-License-Identifier: Apache-2.0
//
// A piece of host memory that a device can read and write. Comes from HugePagePool::Allocate and
// goes back when it is destroyed; it keeps the pool's memory mapped, so it may outlive the pool.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.h"

namespace nrtd::memory {

class PoolState;

// A run of bytes that is contiguous for the device. Never crosses a page of the pool, even where
// two pages happen to be neighbours: a driver maps pages one by one.
struct DmaSegment {
  uint64_t bus_address = 0;
  uint64_t length = 0;
  uint64_t offset = 0;  // in the buffer
};

// Move-only; empty after a move. The handle belongs to one thread at a time, the bytes to whoever
// the driver says: device or host.
class DmaBuffer {
 public:
  DmaBuffer() = default;
  DmaBuffer(DmaBuffer&& other) noexcept;
  DmaBuffer& operator=(DmaBuffer&& other) noexcept;
  DmaBuffer(const DmaBuffer&) = delete;
  DmaBuffer& operator=(const DmaBuffer&) = delete;
  ~DmaBuffer() { Release(); }

  std::byte* data() const { return bytes_.data(); }
  uint64_t size() const { return bytes_.size(); }
  MutableByteSpan bytes() const { return bytes_; }
  explicit operator bool() const { return state_ != nullptr; }

  // In order of offset, covering the whole buffer. A buffer of at most one page is one segment.
  std::span<const DmaSegment> segments() const { return segments_; }
  // Of the byte at `offset` < size(); asserts that.
  uint64_t BusAddress(uint64_t offset = 0) const;

 private:
  friend class HugePagePool;
  DmaBuffer(std::shared_ptr<PoolState> state, uint64_t pool_offset, uint64_t size);
  void Release();

  std::shared_ptr<PoolState> state_;
  uint64_t pool_offset_ = 0;
  MutableByteSpan bytes_;
  std::vector<DmaSegment> segments_;
};

}  // namespace nrtd::memory
