// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/sim_platform.h"

#include <algorithm>
#include <string_view>

namespace nrtd::sim {
namespace {

struct InstanceRow {
  std::string_view name;
  uint32_t devices;
};
// The public sizes of Inf1.
constexpr InstanceRow kInstances[] = {
    {"inf1.xlarge", 1}, {"inf1.2xlarge", 1}, {"inf1.6xlarge", 4}, {"inf1.24xlarge", 16}};

// On the 6xlarge the chain is 1c.0 - 1d.0 - 1e.0 - 1f.0; single devices sit at 1f.0. The 24xlarge's
// sixteen follow the same pattern from 10.0 on.
Result<std::vector<std::string>> ChainOf(const std::string& instance) {
  for (const InstanceRow& row : kInstances) {
    if (row.name != instance) continue;
    std::vector<std::string> chain;
    for (uint32_t i = 0; i < row.devices; ++i)
      chain.push_back(fmt::format("0000:00:{:02x}.0", 0x20 - row.devices + i));
    return chain;
  }
  return Fail(Nerr::kInvalid,
              "no instance size '{}' to simulate: use inf1.xlarge, inf1.2xlarge, inf1.6xlarge or "
              "inf1.24xlarge",
              instance);
}

}  // namespace

Result<std::unique_ptr<SimPlatform>> SimPlatform::Create(const std::string& instance) {
  PlatformOptions options;
  options.simulate = instance;
  return Create(options);
}

Result<std::unique_ptr<SimPlatform>> SimPlatform::Create(const PlatformOptions& options) {
  NRTD_ASSIGN(const std::vector<std::string> chain, ChainOf(options.simulate));
  NRTD_ASSIGN(std::vector<uint32_t> taken, SelectDevices(chain, options.selection));
  std::unique_ptr<SimPlatform> platform(new SimPlatform(options.simulate));
  if (!options.lock_directory.empty()) {
    taken = platform->Lock(taken, chain, options.lock_directory);
    if (taken.empty()) return Fail(Nerr::kHwError, "{}", fmt::join(platform->unavailable_, "; "));
  }
  const auto count = static_cast<uint32_t>(taken.size());
  NRTD_ASSIGN(platform->space_, AddressSpace::Create(count));
  for (uint32_t i = 0; i < count; ++i) {
    DeviceInfo info;
    info.index = i;
    info.number = taken[i];
    info.bdf = chain[taken[i]];
    info.simulated = true;
    if (i + 1 < count) info.connected.push_back(i + 1);
    if (i > 0) info.connected.push_back(i - 1);
    platform->devices_.push_back(std::make_unique<SimDevice>(
        info, *platform->space_, platform->weights_, options.sim_threads));
  }
  return platform;
}

// Which of the devices can be used: the longest run of those that are free now.
std::vector<uint32_t> SimPlatform::Lock(const std::vector<uint32_t>& devices,
                                        const std::vector<std::string>& chain,
                                        const std::string& directory) {
  std::vector<uint32_t> locked;
  std::vector<DeviceLock> locks;
  for (const uint32_t number : devices) {
    auto lock = DeviceLock::Take(directory, chain[number]);
    if (lock) {
      locked.push_back(number);
      locks.push_back(std::move(*lock));
    } else {
      unavailable_.push_back(lock.error().text);
    }
  }
  std::vector<uint32_t> run = LongestRun(locked);
  for (size_t i = 0; i < locked.size(); ++i) {
    if (std::find(run.begin(), run.end(), locked[i]) != run.end()) {
      locks_.push_back(std::move(locks[i]));
    } else {
      unavailable_.push_back(
          fmt::format("{} is free, but no neighbour of those that are used", chain[locked[i]]));
    }
  }
  return run;
}

std::vector<Device*> SimPlatform::devices() {
  std::vector<Device*> devices;
  for (auto& device : devices_) devices.push_back(device.get());
  return devices;
}

std::string SimPlatform::precision() const {
  return HasNativeBFloat16()
             ? "bfloat16 multiplied natively, float32 accumulation"
             : "bfloat16 operands rounded and multiplied in float32 (this CPU has no bfloat16 "
               "instructions), float32 accumulation";
}

}  // namespace nrtd::sim
