// SPDX-License-Identifier: Apache-2.0
//
// What simulated devices see when they put an address on the bus: the DRAM of every device of the
// chain, and the host memory that the driver has mapped. Anything else is an error, never a stray
// access.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <shared_mutex>
#include <vector>

#include "base/error.h"
#include "base/mapped_region.h"
#include "base/mutex.h"
#include "base/sealed_file.h"
#include "driver_shim/ring_format.h"

namespace nrtd::sim {

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
    std::byte* Translate(uint32_t device, BusAddress address, uint64_t length) const;

   private:
    const AddressSpace& space_;
    std::shared_lock<std::shared_mutex> lock_;
  };

  // DRAM is never unmapped: no Access needed. Null outside of DRAM.
  std::byte* TranslateDram(BusAddress address, uint64_t length) const;
  // Shares the file's pages until they are written. False when the addresses are not those of
  // pages, the system refuses, or kMostMapped ranges are shared already.
  bool MapDram(BusAddress address, const SealedFile& file, uint64_t offset, uint64_t length);
  // Gives the whole pages inside the range back to the system; they read as zero afterwards.
  void DiscardDram(BusAddress address, uint64_t length);

 private:
  struct HostRange {
    std::byte* data;
    uint64_t size;
  };
  AddressSpace() = default;

  // Each is a mapping of the process, which may have 65,530 (vm.max_map_count) for everything.
  static constexpr size_t kMostMapped = 16'384;

  Mutex mapped_mutex_;
  std::set<BusAddress> mapped_ NRTD_GUARDED_BY(mapped_mutex_);  // where shared pages begin
  std::vector<MappedRegion> dram_;  // one a channel: index device * kDramChannels + channel
  mutable std::shared_mutex mutex_;
  std::vector<std::map<BusAddress, HostRange>> host_;  // one a device; guarded by mutex_
};

}  // namespace nrtd::sim
