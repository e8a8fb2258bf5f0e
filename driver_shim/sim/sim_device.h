// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "driver_shim/device.h"
#include "driver_shim/sim/sim_core.h"

namespace nrtd::sim {

// A simulated Inferentia: four cores, two channels of DRAM in the chain's address space.
class SimDevice final : public Device {
 public:
  // `space`, `weights` and `turns` outlive the device. `speed` is each core's.
  SimDevice(DeviceInfo info, AddressSpace& space, WeightCache& weights, ComputeTurns& turns,
            const SimSpeed& speed = {});

  const DeviceInfo& info() const override { return info_; }
  SimCore& core(uint32_t index) override { return *cores_[index]; }
  Result<void> MapHostMemory(BusAddress address, std::byte* data, uint64_t size) override;
  void UnmapHostMemory(BusAddress address) override;
  Result<void> AttachMemoryRing(const RingConfig& ring) override;
  void DetachMemoryRing() override;
  void RingMemoryDoorbell(uint32_t count) override;
  void PollMemory() override;
  bool MapDram(BusAddress address, ByteSpan bytes) override;
  void DiscardDram(BusAddress address, uint64_t size) override;
  EccCounters ecc() const override { return {}; }

 private:
  const DeviceInfo info_;
  AddressSpace& space_;
  std::vector<std::unique_ptr<SimCore>> cores_;
  DmaQueue memory_queue_;
};

}  // namespace nrtd::sim
