// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/sim_device.h"

namespace nrtd::sim {

SimDevice::SimDevice(DeviceInfo info, AddressSpace& space, WeightCache& weights,
                     ComputeTurns& turns, const SimSpeed& speed)
    : info_(std::move(info)), space_(space), memory_queue_(space, info_.index) {
  for (uint32_t i = 0; i < info_.cores; ++i) {
    cores_.push_back(
        std::make_unique<SimCore>(CoreId{info_.index, i}, space, weights, turns, speed));
  }
}

Result<void> SimDevice::MapHostMemory(BusAddress address, std::byte* data, uint64_t size) {
  return space_.MapHost(info_.index, address, data, size);
}

void SimDevice::UnmapHostMemory(BusAddress address) {
  space_.UnmapHost(info_.index, address);
}

Result<void> SimDevice::AttachMemoryRing(const RingConfig& ring) {
  return memory_queue_.Attach(ring);
}

void SimDevice::DetachMemoryRing() {
  memory_queue_.Detach();
}

void SimDevice::RingMemoryDoorbell(uint32_t count) {
  memory_queue_.Doorbell(count);
}

void SimDevice::PollMemory() {
  memory_queue_.ReleaseAvailable();
  while (memory_queue_.Step()) {
  }
}

bool SimDevice::MapDram(BusAddress address, ByteSpan bytes) {
  return space_.MapDram(address, bytes);
}

void SimDevice::DiscardDram(BusAddress address, uint64_t size) {
  space_.DiscardDram(address, size);
}

}  // namespace nrtd::sim
