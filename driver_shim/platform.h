// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "driver_shim/device.h"
#include "driver_shim/device_selection.h"

namespace nrtd {

// The devices of this machine, real or simulated, chosen once when the daemon starts. Those that
// another daemon has then can be taken later. Threadsafe.
class Platform {
 public:
  virtual ~Platform() = default;
  // All that were chosen, in chain order, whether the daemon has them or not; owned by the
  // platform.
  virtual std::vector<Device*> devices() = 0;
  // Whether the daemon has devices()[device], and may touch it. What it has it keeps, unless it
  // gives it back.
  virtual bool has(uint32_t device) const = 0;
  // Tries again to get a device that it does not have. kHwError: it is another daemon's, with pid;
  // kResource: the lock cannot be written.
  virtual Result<void> Take(uint32_t device) = 0;
  // One that it has and cannot use, and does not touch any more; unavailable() then says `reason`.
  // It can be taken again, by anybody.
  virtual void GiveBack(uint32_t device, const std::string& reason) = 0;
  virtual bool simulated() const = 0;
  // "inf1.xlarge", for people.
  virtual std::string instance() const = 0;
  // Which arithmetic really runs, for people: "bfloat16 operands rounded, multiplied in float32
  // (this CPU has no ...)".
  virtual std::string precision() const = 0;
  // Why the daemon does not have some of devices(), a line each.
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
  // Simulated cores take at least as long as a real Inferentia would at best.
  bool sim_paced = false;
};

// kHwError: no device and no simulation asked for, or devices that cannot be driven or all are
// another daemon's, with what to do. kInvalid: no such instance size, or an impossible selection.
// One device that can be had is enough.
Result<std::unique_ptr<Platform>> OpenPlatform(const PlatformOptions& options);

}  // namespace nrtd
