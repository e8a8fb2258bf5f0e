// SPDX-License-Identifier: Apache-2.0
//
// What simulated devices see when they put an address on the bus: the DRAM of every device of the
// chain, and the host memory that the driver has mapped. Anything else is an error, never a stray
// access.
#pragma once

#include <cstdint>
#include <map>
#include <shared_mutex>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/mapped_region.h"
#include "base/mutex.h"
#include "driver_shim/ring_format.h"

namespace nrtd::sim {

enum class Use : uint8_t { kRead, kWrite };

// Threadsafe. A translation is valid while the caller holds an Access.
class AddressSpace {
 public:
  // DRAM of `devices` devices, sparse: pages appear when they are written first. kResource when the
  // address range cannot be reserved.
  static Result<std::unique_ptr<AddressSpace>> Create(uint32_t devices);

  // See Device::MapHostMemory. `device` is the one that may reach it.
  Result<void> MapHost(uint32_t device, BusAddress address, std::byte* data, uint64_t size);
  void UnmapHost(uint32_t device, BusAddress address);

  // Holds off UnmapHost, so that a transfer never meets memory that has gone.
  class Access {
   public:
    explicit Access(const AddressSpace& space) : space_(space), lock_(space.mutex_) {}
    // The process's pointer to [address, address + length) for `device`; null if any of it is out
    // of reach. A range may not cross from one mapping into the next, nor from one DRAM channel
    // into the other.
    std::byte* Translate(uint32_t device, BusAddress address, uint64_t length, Use use) const;

   private:
    const AddressSpace& space_;
    std::shared_lock<std::shared_mutex> lock_;
  };

  // Null outside of DRAM. The pointer stays good while the driver keeps the range: until it
  // discards it, no Access needed. What is to be read may lie in memory that nobody can write.
  std::byte* TranslateDram(BusAddress address, uint64_t length, Use use) const;
  // See Device::MapDram.
  bool MapDram(BusAddress address, ByteSpan bytes);
  // Gives the whole pages inside the range back to the system; they read as zero afterwards. What
  // MapDram() put at an address inside is there no more.
  void DiscardDram(BusAddress address, uint64_t length);

 private:
  struct HostRange {
    std::byte* data;
    uint64_t size;
  };
  AddressSpace() = default;
  // In DRAM itself, whatever is mapped there.
  std::byte* InDram(BusAddress address, uint64_t length) const;

  mutable std::shared_mutex mapped_mutex_;
  std::map<BusAddress, ByteSpan> mapped_;  // in place of DRAM; guarded by mapped_mutex_
  std::vector<MappedRegion> dram_;         // one a channel: index device * kDramChannels + channel
  mutable std::shared_mutex mutex_;
  std::vector<std::map<BusAddress, HostRange>> host_;  // one a device; guarded by mutex_
};

}  // namespace nrtd::sim
