// SPDX-License-Identifier: Apache-2.0
#include "runtime/machine.h"

#include <algorithm>
#include <system_error>
#include <thread>

#include "base/log.h"
#include "base/sizes.h"

namespace nrtd::runtime {
namespace {

// A host node is one thread; more of them than this at once help no network that is worth a core.
constexpr unsigned kMostHostThreads = 8;
// Resetting the cores of a network that is late takes a moment; unloading large networks may take
// longer, and must not hold that up.
constexpr size_t kUrgentWorkers = 2;
constexpr size_t kWorkers = 4;

Result<std::unique_ptr<memory::HugePagePool>> CreatePool(const MachineOptions& options,
                                                         Platform& platform) {
  const std::vector<Device*> devices = platform.devices();
  memory::PoolOptions pool_options;
  pool_options.pages_per_device = options.pages_per_device;
  pool_options.devices = static_cast<uint64_t>(
      std::count_if(devices.begin(), devices.end(),
                    [&](const Device* device) { return platform.has(device->info().index); }));
  // Every page for every device: a pipeline's slot is read by all devices that it crosses.
  pool_options.on_page = [devices](const memory::PoolPage& page) -> Result<void> {
    for (Device* device : devices)
      NRTD_TRY(device->MapHostMemory(page.bus_address, page.data, page.length));
    return {};
  };
  pool_options.allow_small_pages = options.allow_small_pages;
  pool_options.pagemap = options.pagemap;
  auto pool = memory::HugePagePool::Create(pool_options);
  if (pool || !platform.simulated()) return pool;
  // Physical addresses take SYS_ADMIN. A simulated device is content with virtual ones; a real one
  // would not be.
  pool_options.addressing = memory::BusAddressing::kVirtual;
  auto second = memory::HugePagePool::Create(pool_options);
  if (!second) return pool;
  Log(LogLevel::kWarning, "NRTD:OpenMachine",
      "{}; the simulated devices use virtual addresses instead", AsIs(pool.error().text));
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

// Tasks first, since they use everything else: those of a deadline may post others.
Machine::~Machine() {
  if (watchdog_ != nullptr) watchdog_->Stop();
  urgent_workers_.reset();
  workers_.reset();
  channels_.clear();
  units_.clear();
}

Result<void> Machine::Start() {
  try {
    watchdog_ = std::make_unique<Watchdog>(clock_);
    urgent_workers_ = std::make_unique<Workers>(kUrgentWorkers);
    workers_ = std::make_unique<Workers>(kWorkers);
  } catch (const std::system_error& error) {
    return Fail(Nerr::kResource, "cannot start the daemon's own threads: {}", error.what());
  }
  for (const std::string& reason : platform_->unavailable())
    Log(LogLevel::kError, "TDRV:OpenDevice", "{}", AsIs(reason));
  const std::vector<Device*> devices = platform_->devices();
  units_ = std::vector<DeviceUnit>(devices.size());
  channels_.resize(devices.size() * kCoresPerDevice);
  for (Device* device : devices) {
    DeviceUnit& unit = units_[device->info().index];
    unit.device = device;
    if (!platform_->has(device->info().index)) continue;
    NRTD_TRY(Prepare(unit));
    PutInService(unit);
  }
  return {};
}

Result<void> Machine::AddDevice(uint32_t device, const std::function<void()>& usable) {
  if (has_device(device)) return {};
  NRTD_TRY(platform_->Take(device));
  DeviceUnit& unit = units_[device];
  auto prepared = Prepare(unit);
  if (prepared) {
    usable();
    PutInService(unit);
    return {};
  }
  const std::string reason =
      fmt::format("device {}: {}", unit.device->info().bdf, prepared.error().text);
  Log(LogLevel::kWarning, "TDRV:OpenDevice", "{}; it is given back", AsIs(reason));
  Dismiss(unit);
  platform_->GiveBack(device, reason);
  return prepared;
}

std::vector<uint32_t> Machine::devices() const {
  std::vector<uint32_t> devices;
  for (uint32_t device = 0; device < device_count(); ++device)
    if (has_device(device)) devices.push_back(device);
  return devices;
}

std::vector<uint32_t> Machine::cores() const {
  std::vector<uint32_t> cores;
  for (uint32_t core = 0; core < core_count(); ++core)
    if (has_core(core)) cores.push_back(core);
  return cores;
}

void Machine::Dismiss(DeviceUnit& unit) {
  const DeviceInfo& info = unit.device->info();
  for (uint32_t core = 0; core < info.cores; ++core)
    channels_[info.index * kCoresPerDevice + core].reset();
  unit.copier.reset();
  unit.channels.clear();
}

Result<void> Machine::Prepare(DeviceUnit& unit) {
  Device& device = *unit.device;
  const DeviceInfo& info = device.info();
  for (uint32_t channel = 0; channel < kDramChannels; ++channel) {
    NRTD_ASSIGN(auto allocator, memory::DramAllocator::Create(DramAddress(info.index, channel, 0),
                                                              kDramChannelBytes));
    unit.channels.push_back(std::move(allocator));
  }
  NRTD_ASSIGN(unit.copier, MemoryCopier::Create(device, *pool_, clock_));
  for (uint32_t core = 0; core < info.cores; ++core) {
    NRTD_ASSIGN(channels_[info.index * kCoresPerDevice + core],
                CoreChannel::Create(device.core(core), *pool_, clock_));
  }
  return {};
}

void Machine::PutInService(DeviceUnit& unit) {
  const DeviceInfo& info = unit.device->info();
  unit.in_service = true;
  Log(LogLevel::kInfo, "TDRV:OpenDevice", "Initialized Inferentia: {}{}", info.bdf,
      info.simulated ? " (simulated)" : "");
}

}  // namespace nrtd::runtime
