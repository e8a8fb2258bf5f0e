// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/error.h"

namespace nrtd::deploy {

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
  // "neuron2" and back; nothing for a name that no device here has.
  static std::string Name(uint32_t device);
  std::optional<uint32_t> NumberOf(const std::string& name) const;
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
