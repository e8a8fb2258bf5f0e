// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/error.h"

namespace nrtd::deploy {

// The Inferentia devices of this node: those of /dev, or those of an instance that daemons
// simulate.
class NodeDevices {
 public:
  struct Options {
    std::string simulate;  // "inf1.6xlarge"; empty: the devices of /dev
    std::string device_folder = "/dev";
    std::string unhealthy_file;  // numbers of devices that an operator takes out; may be missing
  };
  // kInvalid: no such instance.
  static Result<NodeDevices> Find(const Options& options);

  // Whether each device may be used, by its place in the chain. A device of /dev that was there
  // when this was made, and is not any more, may not.
  std::map<uint32_t, bool> Health() const;
  // "neuron2" and back; nothing for a name that no device here has.
  static std::string Name(uint32_t device);
  std::optional<uint32_t> NumberOf(const std::string& name) const;
  bool is_simulated() const { return !options_.simulate.empty(); }
  const std::string& instance() const { return options_.simulate; }
  // Of a real device.
  std::string NodePath(uint32_t device) const;

 private:
  NodeDevices(const Options& options, std::map<uint32_t, bool> devices)
      : options_(options), devices_(std::move(devices)) {}

  Options options_;
  std::map<uint32_t, bool> devices_;
};

}  // namespace nrtd::deploy
