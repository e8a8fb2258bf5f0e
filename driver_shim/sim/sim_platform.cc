// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/sim_platform.h"

#include "base/inf1_instances.h"

namespace nrtd::sim {
namespace {

// On the 6xlarge the chain is 1c.0 - 1d.0 - 1e.0 - 1f.0; single devices sit at 1f.0. The 24xlarge's
// sixteen follow the same pattern from 10.0 on.
Result<std::vector<std::string>> ChainOf(const std::string& instance) {
  NRTD_ASSIGN(const uint32_t devices, DevicesOfInstance(instance));
  std::vector<std::string> chain;
  for (uint32_t i = 0; i < devices; ++i)
    chain.push_back(fmt::format("0000:00:{:02x}.0", 0x20 - devices + i));
  return chain;
}

}  // namespace

Result<std::unique_ptr<SimPlatform>> SimPlatform::Create(const std::string& instance) {
  PlatformOptions options;
  options.simulate = instance;
  return Create(options);
}

Result<std::unique_ptr<SimPlatform>> SimPlatform::Create(const PlatformOptions& options) {
  NRTD_ASSIGN(const std::vector<std::string> chain, ChainOf(options.simulate));
  NRTD_ASSIGN(const std::vector<uint32_t> chosen, SelectDevices(chain, options.selection));
  std::unique_ptr<SimPlatform> platform(new SimPlatform(options));
  const auto count = static_cast<uint32_t>(chosen.size());
  NRTD_ASSIGN(platform->space_, AddressSpace::Create(count));
  for (uint32_t i = 0; i < count; ++i) {
    DeviceInfo info;
    info.index = i;
    info.number = chosen[i];
    info.bdf = chain[chosen[i]];
    info.simulated = true;
    if (i + 1 < count) info.connected.push_back(i + 1);
    if (i > 0) info.connected.push_back(i - 1);
    platform->devices_.push_back(
        std::make_unique<SimDevice>(info, *platform->space_, platform->weights_, platform->turns_,
                                    SimSpeed{options.sim_threads, options.sim_paced}));
  }
  {
    MutexLock lock(platform->mutex_);
    platform->possessions_.resize(count);
  }
  for (uint32_t i = 0; i < count; ++i) (void)platform->Take(i);
  const std::vector<std::string> reasons = platform->unavailable();
  if (reasons.size() == count) return Fail(Nerr::kHwError, "{}", fmt::join(reasons, "; "));
  return platform;
}

bool SimPlatform::has(uint32_t device) const {
  MutexLock lock(mutex_);
  return possessions_[device].had;
}

Result<void> SimPlatform::Take(uint32_t device) {
  MutexLock guard(mutex_);
  Possession& possession = possessions_[device];
  if (possession.had) return {};
  if (!lock_directory_.empty()) {
    auto lock = DeviceLock::Take(lock_directory_, devices_[device]->info().bdf);
    if (!lock) {
      possession.reason = lock.error().text;
      return tl::unexpected<Error>(std::move(lock.error()));
    }
    possession.lock.emplace(std::move(*lock));
  }
  possession.had = true;
  return {};
}

void SimPlatform::GiveBack(uint32_t device, const std::string& reason) {
  MutexLock lock(mutex_);
  possessions_[device].had = false;
  possessions_[device].lock.reset();
  possessions_[device].reason = reason;
}

std::vector<std::string> SimPlatform::unavailable() const {
  MutexLock lock(mutex_);
  std::vector<std::string> reasons;
  for (const Possession& possession : possessions_)
    if (!possession.had) reasons.push_back(possession.reason);
  return reasons;
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
