// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/sim_platform.h"

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
std::string Bdf(uint32_t index, uint32_t devices) {
  return fmt::format("0000:00:{:02x}.0", 0x20 - devices + index);
}

}  // namespace

Result<std::unique_ptr<SimPlatform>> SimPlatform::Create(const std::string& instance) {
  for (const InstanceRow& row : kInstances) {
    if (row.name != instance) continue;
    std::unique_ptr<SimPlatform> platform(new SimPlatform(instance));
    NRTD_ASSIGN(platform->space_, AddressSpace::Create(row.devices));
    for (uint32_t i = 0; i < row.devices; ++i) {
      DeviceInfo info;
      info.index = i;
      info.bdf = Bdf(i, row.devices);
      info.simulated = true;
      if (i + 1 < row.devices) info.connected.push_back(i + 1);
      if (i > 0) info.connected.push_back(i - 1);
      platform->devices_.push_back(
          std::make_unique<SimDevice>(info, *platform->space_, platform->weights_));
    }
    return platform;
  }
  return Fail(Nerr::kInvalid,
              "no instance size '{}' to simulate: use inf1.xlarge, inf1.2xlarge, inf1.6xlarge or "
              "inf1.24xlarge",
              instance);
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
