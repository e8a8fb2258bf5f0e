// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/memory_copier.h"

#include <algorithm>
#include <cstring>

#include "base/sizes.h"
#include "base/timeouts.h"

namespace nrtd {
namespace {

constexpr uint64_t kStagingBytes = 2 * kMiB;
constexpr uint32_t kRingCapacity = 64;

}  // namespace

Result<std::unique_ptr<MemoryCopier>> MemoryCopier::Create(Device& device,
                                                           memory::HugePagePool& pool,
                                                           Clock& clock) {
  NRTD_ASSIGN(DmaRing ring, DmaRing::Create(pool, kRingCapacity));
  NRTD_ASSIGN(memory::DmaBuffer staging, pool.Allocate(kStagingBytes));
  NRTD_TRY(device.AttachMemoryRing(ring.config()));
  return std::unique_ptr<MemoryCopier>(
      new MemoryCopier(device, clock, std::move(ring), std::move(staging)));
}

MemoryCopier::MemoryCopier(Device& device, Clock& clock, DmaRing ring, memory::DmaBuffer staging)
    : device_(device), clock_(clock), ring_(std::move(ring)), staging_(std::move(staging)) {}

MemoryCopier::~MemoryCopier() {
  device_.DetachMemoryRing();
}

Result<void> MemoryCopier::Write(BusAddress destination, ByteSpan source,
                                 const std::stop_token& stop) {
  MutexLock lock(mutex_);
  for (uint64_t done = 0; done < source.size();) {
    NRTD_TRY(CheckWanted(stop));
    const uint64_t length = std::min<uint64_t>(kStagingBytes, source.size() - done);
    std::memcpy(staging_.data(), source.data() + done, length);
    NRTD_TRY(Transfer({.source = staging_.BusAddress(0),
                       .destination = destination + done,
                       .length = static_cast<uint32_t>(length)}));
    done += length;
  }
  return {};
}

Result<void> MemoryCopier::Read(MutableByteSpan destination, BusAddress source) {
  MutexLock lock(mutex_);
  for (uint64_t done = 0; done < destination.size();) {
    const uint64_t length = std::min<uint64_t>(kStagingBytes, destination.size() - done);
    NRTD_TRY(Transfer({.source = source + done,
                       .destination = staging_.BusAddress(0),
                       .length = static_cast<uint32_t>(length)}));
    std::memcpy(destination.data() + done, staging_.data(), length);
    done += length;
  }
  return {};
}

Result<void> MemoryCopier::Transfer(const Descriptor& descriptor) {
  const uint64_t failed_before = ring_.completion().failed;
  NRTD_TRY(ring_.Push({&descriptor, 1}));
  device_.RingMemoryDoorbell(1);
  const TimePoint deadline = clock_.Now() + kDmaTransferTimeout;
  while (ring_.completion().completed < ring_.pushed()) {
    device_.PollMemory();
    if (ring_.completion().completed < ring_.pushed() && clock_.Now() >= deadline) {
      return Fail(Nerr::kHwError, "Error: DMA completion timeout in the memory ring of {}",
                  device_.info().bdf);
    }
  }
  if (ring_.completion().failed != failed_before) {
    return Fail(Nerr::kHwError, "{}: DMA of {} bytes from {:#x} to {:#x} left the device's memory",
                device_.info().bdf, descriptor.length, descriptor.source, descriptor.destination);
  }
  return {};
}

}  // namespace nrtd
