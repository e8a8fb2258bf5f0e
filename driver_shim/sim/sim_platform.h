// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "driver_shim/device_lock.h"
#include "driver_shim/platform.h"
#include "driver_shim/sim/sim_device.h"

namespace nrtd::sim {

// The simulated devices of one instance size, in one chain and one address space.
class SimPlatform final : public Platform {
 public:
  // options.simulate is "inf1.xlarge", "inf1.2xlarge", "inf1.6xlarge" or "inf1.24xlarge"; kInvalid
  // naming them otherwise. Errors of OpenPlatform().
  static Result<std::unique_ptr<SimPlatform>> Create(const PlatformOptions& options);
  // All devices of an instance size.
  static Result<std::unique_ptr<SimPlatform>> Create(const std::string& instance);

  std::vector<Device*> devices() override;
  bool simulated() const override { return true; }
  std::string instance() const override { return instance_; }
  std::string precision() const override;
  std::vector<std::string> unavailable() const override { return unavailable_; }

  SimDevice& device(uint32_t index) { return *devices_[index]; }
  const WeightCache& weights() const { return weights_; }

 private:
  explicit SimPlatform(std::string instance) : instance_(std::move(instance)) {}
  std::vector<uint32_t> Lock(const std::vector<uint32_t>& devices,
                             const std::vector<std::string>& chain, const std::string& directory);

  std::string instance_;
  std::vector<DeviceLock> locks_;
  std::vector<std::string> unavailable_;
  std::unique_ptr<AddressSpace> space_;
  WeightCache weights_;
  std::vector<std::unique_ptr<SimDevice>> devices_;
};

}  // namespace nrtd::sim
