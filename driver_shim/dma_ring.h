// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "base/error.h"
#include "driver_shim/ring_format.h"
#include "memory/dma_buffer.h"
#include "memory/hugepage_pool.h"

namespace nrtd {

// The driver's end of one descriptor ring: it writes descriptors, the device reads them. The memory
// comes from the pool and goes back when the ring is destroyed, which the owner does only after
// detaching it from the device.
//
// Threads: one producer at a time. completed() and free_entries() may run beside the device.
class DmaRing {
 public:
  // `capacity` is a power of two <= 32,768 (1 MiB of descriptors: a ring never crosses a huge
  // page). kInvalid otherwise, kResource when the pool is exhausted.
  static Result<DmaRing> Create(memory::HugePagePool& pool, uint32_t capacity);

  RingConfig config() const;
  uint32_t capacity() const { return capacity_; }
  // Descriptors that can be pushed now.
  uint32_t free_entries() const;

  // Copies the descriptors into the ring, all or none; the caller rings the doorbell with their
  // number. kResource when they do not fit.
  Result<void> Push(std::span<const Descriptor> descriptors);

  // As the device last wrote it.
  CompletionRecord completion() const;
  uint64_t pushed() const { return pushed_; }

  // Forgets everything pushed, for a device that was reset.
  void Clear();

 private:
  DmaRing(memory::DmaBuffer buffer, uint32_t capacity);
  std::byte* record() const;

  memory::DmaBuffer buffer_;
  uint32_t capacity_ = 0;
  uint64_t pushed_ = 0;
};

}  // namespace nrtd
