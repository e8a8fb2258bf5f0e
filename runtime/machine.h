// SPDX-License-Identifier: Apache-2.0
//
// Everything of the hardware that the daemon owns for its lifetime: the devices, the pinned host
// memory that they reach, the channel of every core, the DRAM of every device.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "driver_shim/core_channel.h"
#include "driver_shim/memory_copier.h"
#include "driver_shim/platform.h"
#include "memory/dram_allocator.h"
#include "memory/hugepage_pool.h"
#include "memory/pagemap.h"
#include "runtime/watchdog.h"
#include "runtime/workers.h"
#include "scheduler/host_pool.h"

namespace nrtd::runtime {

struct MachineOptions {
  PlatformOptions platform;
  uint64_t pages_per_device = memory::kDefaultPagesPerDevice;
  bool allow_small_pages = false;
  // PoolOptions::pagemap
  std::shared_ptr<const memory::Pagemap> pagemap = nullptr;
};

// One device with what the daemon keeps beside it. Until it is in service, only `device` is set.
struct DeviceUnit {
  Device* device = nullptr;
  std::atomic<bool> in_service{false};  // set last, and for good
  std::vector<memory::DramAllocator> channels;
  std::unique_ptr<MemoryCopier> copier;

  uint64_t used_bytes(uint32_t channel) const { return channels[channel].used_bytes(); }
};

// Threadsafe after Start().
class Machine {
 public:
  // What may take privileges: opens the devices, takes the huge pages. A process that has dropped
  // them can do it as well if it has opened its pagemap before. Starts no thread. The errors of
  // OpenPlatform and HugePagePool::Create. `clock` outlives the machine.
  static Result<std::unique_ptr<Machine>> Acquire(const MachineOptions& options, Clock& clock);
  // The rest, which takes none: rings and threads of the devices that were to be had. Once, before
  // anything else.
  Result<void> Start();
  // Takes a device into service that could not be had before. kHwError: it still cannot; kResource:
  // the pool, which was made for those in service, has no room for its rings, or the system has no
  // threads; the device is then given back, and the platform knows why. `usable` is called when its
  // cores can be used, before anybody is told that it is in service. By one thread at a time.
  Result<void> AddDevice(uint32_t device, const std::function<void()>& usable);
  // Both.
  static Result<std::unique_ptr<Machine>> Open(const MachineOptions& options, Clock& clock);
  ~Machine();

  Clock& clock() const { return clock_; }
  Platform& platform() const { return *platform_; }
  memory::HugePagePool& pool() const { return *pool_; }
  scheduler::HostPool& host_pool() { return host_pool_; }
  // What prepared programs take, all together.
  PreparedBudget& prepared_budget() { return prepared_budget_; }
  // After Start(). For deadlines; for what must be done at once when one passes; and for the rest
  // of what goes on without a client's call.
  Watchdog& watchdog() { return *watchdog_; }
  Workers& urgent_workers() { return *urgent_workers_; }
  Workers& workers() { return *workers_; }

  // All devices that were chosen, and their cores, numbered through the chain ("virtual NC"): in
  // service or not, so that numbers stay as they are.
  uint32_t device_count() const { return static_cast<uint32_t>(units_.size()); }
  uint32_t core_count() const { return static_cast<uint32_t>(channels_.size()); }
  uint32_t device_of_core(uint32_t core) const { return core / kCoresPerDevice; }
  bool has_device(uint32_t device) const { return units_[device].in_service; }
  bool has_core(uint32_t core) const { return has_device(device_of_core(core)); }
  // Those in service, by rising number.
  std::vector<uint32_t> devices() const;
  std::vector<uint32_t> cores() const;

  // Of those in service only.
  DeviceUnit& unit(uint32_t device) { return units_[device]; }
  CoreChannel& channel(uint32_t core) { return *channels_[core]; }
  DeviceUnit& unit_of_core(uint32_t core) { return units_[channel(core).core().id().device]; }

 private:
  explicit Machine(Clock& clock);
  Result<void> Prepare(DeviceUnit& unit);
  void PutInService(DeviceUnit& unit);
  // Takes apart what Prepare() has left halfway.
  void Dismiss(DeviceUnit& unit);

  Clock& clock_;
  scheduler::HostPool host_pool_;
  PreparedBudget prepared_budget_;  // programs go before it
  // Torn down in the reverse order: channels and copiers give their rings back before the pool and
  // the devices go.
  std::unique_ptr<Platform> platform_;
  std::unique_ptr<memory::HugePagePool> pool_;
  std::vector<DeviceUnit> units_;
  std::vector<std::unique_ptr<CoreChannel>> channels_;
  std::unique_ptr<Watchdog> watchdog_;
  std::unique_ptr<Workers> urgent_workers_;
  std::unique_ptr<Workers> workers_;
};

}  // namespace nrtd::runtime
