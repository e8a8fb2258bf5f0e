// SPDX-License-Identifier: Apache-2.0
#include "runtime/machine.h"

#include <algorithm>
#include <thread>

#include "base/log.h"
#include "base/sizes.h"

namespace nrtd::runtime {
namespace {

// A host node is one thread; more of them than this at once help no network that is worth a core.
constexpr unsigned kMostHostThreads = 8;

Result<std::unique_ptr<memory::HugePagePool>> CreatePool(const MachineOptions& options,
                                                         Platform& platform) {
  const std::vector<Device*> devices = platform.devices();
  memory::PoolOptions pool_options;
  pool_options.pages_per_device = options.pages_per_device;
  pool_options.devices = devices.size();
  // Every page for every device: a pipeline's slot is read by all devices that it crosses.
  pool_options.on_page = [devices](const memory::PoolPage& page) -> Result<void> {
    for (Device* device : devices)
      NRTD_TRY(device->MapHostMemory(page.bus_address, page.data, page.length));
    return {};
  };
  pool_options.allow_small_pages = options.allow_small_pages;
  auto pool = memory::HugePagePool::Create(pool_options);
  if (pool || !platform.simulated()) return pool;
  // Physical addresses take SYS_ADMIN. A simulated device is content with virtual ones; a real one
  // would not be.
  pool_options.addressing = memory::BusAddressing::kVirtual;
  auto second = memory::HugePagePool::Create(pool_options);
  if (!second) return pool;
  Log(LogLevel::kWarning, "NRTD:OpenMachine",
      "{}; the simulated devices use virtual addresses instead", pool.error().text);
  return second;
}

}  // namespace

Result<std::unique_ptr<Machine>> Machine::Acquire(const MachineOptions& options, Clock& clock) {
  std::unique_ptr<Machine> machine(new Machine(clock));
  NRTD_ASSIGN(machine->platform_, OpenPlatform(options.platform));
  NRTD_ASSIGN(machine->pool_, CreatePool(options, *machine->platform_));
  return machine;
}

Result<std::unique_ptr<Machine>> Machine::Open(const MachineOptions& options, Clock& clock) {
  NRTD_ASSIGN(std::unique_ptr<Machine> machine, Acquire(options, clock));
  NRTD_TRY(machine->Start());
  return machine;
}

Machine::Machine(Clock& clock)
    : clock_(clock),
      host_pool_(clock, std::clamp(std::thread::hardware_concurrency(), 1U, kMostHostThreads)) {}

Machine::~Machine() {
  channels_.clear();
  units_.clear();
}

Result<void> Machine::Start() {
  for (const std::string& reason : platform_->unavailable())
    Log(LogLevel::kError, "TDRV:OpenDevice", "{}", reason);
  for (Device* device : platform_->devices()) {
    DeviceUnit unit;
    unit.device = device;
    for (uint32_t channel = 0; channel < kDramChannels; ++channel) {
      NRTD_ASSIGN(auto allocator,
                  memory::DramAllocator::Create(DramAddress(device->info().index, channel, 0),
                                                kDramChannelBytes));
      unit.channels.push_back(std::move(allocator));
    }
    NRTD_ASSIGN(unit.copier, MemoryCopier::Create(*device, *pool_, clock_));
    units_.push_back(std::move(unit));
    for (uint32_t core = 0; core < device->info().cores; ++core) {
      NRTD_ASSIGN(auto channel, CoreChannel::Create(device->core(core), *pool_, clock_));
      channels_.push_back(std::move(channel));
    }
    Log(LogLevel::kInfo, "TDRV:OpenDevice", "Initialized Inferentia: {}{}", device->info().bdf,
        device->info().simulated ? " (simulated)" : "");
  }
  return {};
}

}  // namespace nrtd::runtime
