// SPDX-License-Identifier: Apache-2.0
#include "memory/dma_buffer.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "memory/pool_state.h"

namespace nrtd::memory {

DmaBuffer::DmaBuffer(std::shared_ptr<PoolState> state, uint64_t pool_offset, uint64_t size)
    : state_(std::move(state)),
      pool_offset_(pool_offset),
      bytes_(state_->bytes().subspan(pool_offset, size)) {
  for (uint64_t offset = 0; offset < size;) {
    const uint64_t left_in_page = kHugePageSize - (pool_offset + offset) % kHugePageSize;
    const uint64_t length = std::min(left_in_page, size - offset);
    segments_.push_back({state_->BusAddress(pool_offset + offset), length, offset});
    offset += length;
  }
}

DmaBuffer::DmaBuffer(DmaBuffer&& other) noexcept
    : state_(std::move(other.state_)),
      pool_offset_(std::exchange(other.pool_offset_, 0)),
      bytes_(std::exchange(other.bytes_, {})),
      segments_(std::exchange(other.segments_, {})) {}

DmaBuffer& DmaBuffer::operator=(DmaBuffer&& other) noexcept {
  if (this != &other) {
    Release();
    state_ = std::move(other.state_);
    pool_offset_ = std::exchange(other.pool_offset_, 0);
    bytes_ = std::exchange(other.bytes_, {});
    segments_ = std::exchange(other.segments_, {});
  }
  return *this;
}

uint64_t DmaBuffer::BusAddress(uint64_t offset) const {
  assert(offset < size());
  return state_->BusAddress(pool_offset_ + offset);
}

void DmaBuffer::Release() {
  if (state_) state_->Give(pool_offset_, bytes_.size());
  state_.reset();
}

}  // namespace nrtd::memory
