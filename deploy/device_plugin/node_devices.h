// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/error.h"

namespace nrtd::deploy {

inline constexpr uint32_t kCoresOfDevice = 4;  // of an Inferentia

// The Inferentia devices of this node: those of /dev, or those of an instance that daemons
// simulate.
class NodeDevices {
 public:
  struct Options {
    std::string simulate;                // "inf1.6xlarge"; empty: the devices of /dev
    std::string device_folder = "/dev";  // where this process sees the node's
    // Numbers or names of devices that an operator takes out, a line each; '#' begins a remark. It
    // may be missing.
    std::string unhealthy_file;
  };
  // kInvalid: no such instance.
  static Result<NodeDevices> Find(const Options& options);

  // Whether each device may be used, by its place in the chain. A device of /dev that was there
  // once, and is not any more, may not. While the file of unhealthy ones has a line that is not
  // understood, what it said before holds. Not threadsafe.
  std::map<uint32_t, bool> Health();
  // What the kubelet gives away: a device, "neuron2", or one of its cores, "neuron2-core3".
  struct Unit {
    uint32_t device = 0;
    std::optional<uint32_t> core;
  };
  static std::string Name(uint32_t device);
  static std::string Name(uint32_t device, uint32_t core);
  // Nothing for other names.
  static std::optional<Unit> UnitOf(std::string_view name);
  bool Has(uint32_t device) const { return devices_.contains(device); }
  bool is_simulated() const { return !options_.simulate.empty(); }
  const std::string& instance() const { return options_.simulate; }
  // Of a real device, on the node.
  static std::string NodePath(uint32_t device);

 private:
  explicit NodeDevices(const Options& options) : options_(options) {}
  void LookForDevices();
  std::optional<std::set<uint32_t>> ReadUnhealthy();

  Options options_;
  std::set<uint32_t> devices_;  // that were ever seen
  std::set<uint32_t> unhealthy_;
  std::string problem_;  // that was logged
};

}  // namespace nrtd::deploy
