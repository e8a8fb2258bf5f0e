// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/address_space.h"

#include <iterator>
#include <memory>
#include <mutex>

#include <sys/mman.h>

#include "base/sizes.h"

namespace nrtd::sim {

Result<std::unique_ptr<AddressSpace>> AddressSpace::Create(uint32_t devices) {
  std::unique_ptr<AddressSpace> space(new AddressSpace);
  space->host_.resize(devices);
  for (uint32_t i = 0; i < devices * kDramChannels; ++i) {
    NRTD_ASSIGN(MappedRegion channel,
                MappedRegion::Map(kDramChannelBytes, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE));
    // A core dump of the daemon should hold its state, not gigabytes of weights.
    ::madvise(channel.data(), channel.size(), MADV_DONTDUMP);
    space->dram_.push_back(std::move(channel));
  }
  return space;
}

Result<void> AddressSpace::MapHost(uint32_t device, BusAddress address, std::byte* data,
                                   uint64_t size) {
  if (size == 0 || address >= kDramWindow || size > kDramWindow - address) {
    return Fail(Nerr::kInvalid, "host memory at {:#x} of {} bytes cannot be mapped for a device",
                address, size);
  }
  std::unique_lock lock(mutex_);
  auto& ranges = host_[device];
  auto next = ranges.lower_bound(address);
  const bool hits_next = next != ranges.end() && next->first - address < size;
  const bool hits_previous =
      next != ranges.begin() && address - std::prev(next)->first < std::prev(next)->second.size;
  if (hits_next || hits_previous) {
    return Fail(Nerr::kInvalid, "host memory at {:#x} of {} bytes overlaps a mapping of device {}",
                address, size, device);
  }
  ranges.emplace_hint(next, address, HostRange{data, size});
  return {};
}

void AddressSpace::UnmapHost(uint32_t device, BusAddress address) {
  std::unique_lock lock(mutex_);
  host_[device].erase(address);
}

std::byte* AddressSpace::Access::Translate(uint32_t device, BusAddress address, uint64_t length,
                                           Use use) const {
  if (address >= kDramWindow) return space_.TranslateDram(address, length, use);
  const auto& ranges = space_.host_[device];
  auto range = ranges.upper_bound(address);
  if (range == ranges.begin()) return nullptr;
  --range;
  const uint64_t offset = address - range->first;
  return RangeFits(offset, length, range->second.size) ? range->second.data + offset : nullptr;
}

std::byte* AddressSpace::TranslateDram(BusAddress address, uint64_t length, Use use) const {
  std::byte* dram = InDram(address, length);
  if (dram == nullptr) return nullptr;
  std::shared_lock lock(mapped_mutex_);
  const auto next = mapped_.upper_bound(address);
  if (next != mapped_.end() && next->first - address < length) return nullptr;
  if (next == mapped_.begin()) return dram;
  const auto& [begin, bytes] = *std::prev(next);
  const uint64_t offset = address - begin;
  if (offset >= bytes.size()) return dram;
  if (use == Use::kWrite || !RangeFits(offset, length, bytes.size())) return nullptr;
  return const_cast<std::byte*>(bytes.data()) + offset;
}

std::byte* AddressSpace::InDram(BusAddress address, uint64_t length) const {
  if (address < kDramWindow) return nullptr;
  const uint64_t offset = address & (kDramChannelBytes - 1);
  const uint64_t channel = (address >> 32) & 0xff;
  const uint64_t device = (address - kDramWindow) >> 40;
  if (channel >= kDramChannels || device >= host_.size() ||
      !RangeFits(offset, length, kDramChannelBytes))
    return nullptr;
  return dram_[device * kDramChannels + channel].data() + offset;
}

bool AddressSpace::MapDram(BusAddress address, ByteSpan bytes) {
  if (bytes.empty() || address % kPage != 0 ||
      reinterpret_cast<uintptr_t>(bytes.data()) % kPage != 0 ||
      TranslateDram(address, bytes.size(), Use::kWrite) == nullptr)
    return false;
  std::unique_lock lock(mapped_mutex_);
  mapped_.emplace(address, bytes);
  return true;
}

void AddressSpace::DiscardDram(BusAddress address, uint64_t length) {
  {
    std::unique_lock lock(mapped_mutex_);
    mapped_.erase(mapped_.lower_bound(address), mapped_.lower_bound(address + length));
  }
  const uint64_t first = AlignUp(address, kPage);
  const uint64_t end = (address + length) & ~(kPage - 1);
  if (first >= end) return;
  std::byte* data = InDram(first, end - first);
  if (data != nullptr) ::madvise(data, end - first, MADV_DONTNEED);
}

}  // namespace nrtd::sim
