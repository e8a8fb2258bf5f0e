// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/wanted.h"
#include "driver_shim/device.h"
#include "driver_shim/dma_ring.h"

namespace nrtd {

// Moves bytes between process memory and device DRAM through the device's own DMA ring and a
// staging buffer of one huge page: how weights get onto a device. Threadsafe; transfers take turns.
class MemoryCopier {
 public:
  // `device`, `pool` and `clock` outlive the copier; the pool's pages are mapped for the device.
  static Result<std::unique_ptr<MemoryCopier>> Create(Device& device, memory::HugePagePool& pool,
                                                      Clock& clock);
  // Takes the ring off the device, which then has room for another one.
  ~MemoryCopier();

  // kHwError: the device failed or did not answer ("Error: DMA completion timeout in ..."); the
  // content is undefined. Errors of CheckWanted().
  Result<void> Write(BusAddress destination, ByteSpan source, const std::stop_token& stop = {});
  Result<void> Read(MutableByteSpan destination, BusAddress source);

 private:
  MemoryCopier(Device& device, Clock& clock, DmaRing ring, memory::DmaBuffer staging);
  Result<void> Transfer(const Descriptor& descriptor) NRTD_REQUIRES(mutex_);

  Device& device_;
  Clock& clock_;
  Mutex mutex_;
  DmaRing ring_ NRTD_GUARDED_BY(mutex_);
  memory::DmaBuffer staging_ NRTD_GUARDED_BY(mutex_);
};

}  // namespace nrtd
