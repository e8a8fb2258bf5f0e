// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/sealed_memory.h"
#include "driver_shim/core.h"

namespace nrtd {

inline constexpr uint32_t kCoresPerDevice = 4;  // of an Inferentia

struct DeviceInfo {
  uint32_t index = 0;   // place in the chain of the daemon's devices
  uint32_t number = 0;  // place in the machine's chain
  std::string bdf;      // "0000:00:1f.0"
  uint32_t cores = kCoresPerDevice;
  std::vector<uint32_t> connected;  // indices of the neighbours in the chain
  bool simulated = false;
};

// Error-correcting code events since the device was opened (get_hw_counters).
struct EccCounters {
  uint32_t memory_corrected = 0;
  uint32_t memory_uncorrected = 0;
  uint32_t sram_corrected = 0;
  uint32_t sram_uncorrected = 0;
};

// One Inferentia: its cores, its DRAM, and the host memory that it may reach.
//
// Threads: info() and ecc() any; MapHostMemory, UnmapHostMemory and DiscardDram any; the memory
// ring by one thread at a time (MemoryCopier keeps that order).
class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;
  virtual Core& core(uint32_t index) = 0;  // index < info().cores

  // Lets the device reach `size` bytes of pinned host memory at `data` under `address`. Physical
  // addresses are contiguous over the range. The memory outlives the mapping. kInvalid: overlaps a
  // mapping that exists.
  virtual Result<void> MapHostMemory(BusAddress address, std::byte* data, uint64_t size) = 0;
  // Waits until no transfer uses the range. Later ones fail.
  virtual void UnmapHostMemory(BusAddress address) = 0;

  // The device's own DMA ring, for the driver's transfers outside of executions (weights).
  // Descriptors are released by the doorbell; PollMemory() works like Core::Poll().
  // kInvalid: it has one already, or the ring's memory is not mapped. The memory stays until
  // DetachMemoryRing().
  virtual Result<void> AttachMemoryRing(const RingConfig& ring) = 0;
  virtual void DetachMemoryRing() = 0;
  virtual void RingMemoryDoorbell(uint32_t count) = 0;
  virtual void PollMemory() = 0;

  // Makes `bytes` the content of DRAM from `address` on, without a copy, if the device can do that:
  // the simulator can, where both begin with a page of 4 KiB. False: they are to be written by DMA.
  // They stay as they are until DiscardDram(). A transfer reads inside of them or fails; one that
  // writes to them fails.
  virtual bool MapDram(BusAddress address, ByteSpan bytes) = 0;

  // The content of this DRAM range is not needed any more. Hardware ignores it; the simulator gives
  // the memory back, and forgets what MapDram() put at an address inside.
  virtual void DiscardDram(BusAddress address, uint64_t size) = 0;

  virtual EccCounters ecc() const = 0;
};

}  // namespace nrtd
