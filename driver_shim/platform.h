// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "driver_shim/device.h"
#include "driver_shim/device_selection.h"

namespace nrtd {

// The devices of this machine, real or simulated, chosen once when the daemon starts.
class Platform {
 public:
  virtual ~Platform() = default;
  // In chain order; owned by the platform.
  virtual std::vector<Device*> devices() = 0;
  virtual bool simulated() const = 0;
  // "inf1.xlarge", for people.
  virtual std::string instance() const = 0;
  // Which arithmetic really runs, for people: "bfloat16 operands rounded, multiplied in float32
  // (this CPU has no ...)".
  virtual std::string precision() const = 0;
  // Why devices that were to be taken are not among devices(), a line each.
  virtual std::vector<std::string> unavailable() const = 0;
};

struct PlatformOptions {
  std::string simulate;             // an instance size such as "inf1.xlarge"; empty: real devices
  std::string device_dir = "/dev";  // where neuron<N> nodes are looked for
  DeviceSelection selection = {};
  // Where devices are locked against other daemons; "" locks none. Simulated ones are nobody else's
  // anyway.
  std::string lock_directory = {};
  // CPU threads on which each simulated core computes.
  unsigned sim_threads = 1;
};

// kHwError: no device and no simulation asked for, or devices that cannot be driven or all are
// another daemon's, with what to do. kInvalid: no such instance size, or an impossible selection.
// If some of the devices can be had, it is the longest run of neighbours among them.
Result<std::unique_ptr<Platform>> OpenPlatform(const PlatformOptions& options);

}  // namespace nrtd
