// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
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
  bool has(uint32_t device) const override NRTD_EXCLUDES(mutex_);
  Result<void> Take(uint32_t device) override NRTD_EXCLUDES(mutex_);
  void GiveBack(uint32_t device, const std::string& reason) override NRTD_EXCLUDES(mutex_);
  std::vector<std::string> unavailable() const override NRTD_EXCLUDES(mutex_);

  SimDevice& device(uint32_t index) { return *devices_[index]; }
  const WeightCache& weights() const { return weights_; }
  const AddressSpace& address_space() const { return *space_; }

 private:
  // Whether a device is the daemon's: by its lock, or because devices are not locked at all.
  struct Possession {
    bool had = false;
    std::optional<DeviceLock> lock;
    std::string reason;  // why it is not had
  };

  explicit SimPlatform(const PlatformOptions& options)
      : instance_(options.simulate),
        lock_directory_(options.lock_directory),
        turns_(ComputeTurns::FittingOnCpus(options.sim_threads)) {}

  const std::string instance_;
  const std::string lock_directory_;
  mutable Mutex mutex_;
  std::vector<Possession> possessions_ NRTD_GUARDED_BY(mutex_);  // one a device
  std::unique_ptr<AddressSpace> space_;
  WeightCache weights_;
  ComputeTurns turns_;
  std::vector<std::unique_ptr<SimDevice>> devices_;
};

}  // namespace nrtd::sim
