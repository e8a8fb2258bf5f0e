// SPDX-License-Identifier: Apache-2.0
#include "deploy/device_plugin/node_devices.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "base/inf1_instances.h"
#include "base/log.h"

namespace nrtd::deploy {
namespace {

constexpr std::string_view kPrefix = "neuron";
constexpr std::string_view kCorePrefix = "-core";

// "neuron2" with the prefix "neuron": 2.
std::optional<uint32_t> NumberIn(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return number;
}

}  // namespace

Result<NodeDevices> NodeDevices::Find(const Options& options) {
  NodeDevices found(options);
  if (options.simulate.empty()) {
    found.LookForDevices();
    return found;
  }
  NRTD_ASSIGN(const uint32_t count, DevicesOfInstance(options.simulate));
  for (uint32_t i = 0; i < count; ++i) found.devices_.insert(i);
  return found;
}

// The driver may be loaded after this program.
void NodeDevices::LookForDevices() {
  std::error_code error;
  for (std::filesystem::directory_iterator entry(options_.device_folder, error), end;
       !error && entry != end; entry.increment(error)) {
    if (const auto number = NumberIn(entry->path().filename().string(), kPrefix))
      devices_.insert(*number);
  }
}

// Nothing if a line is not understood.
std::optional<std::set<uint32_t>> NodeDevices::ReadUnhealthy() {
  std::set<uint32_t> unhealthy;
  std::ifstream file(options_.unhealthy_file);
  for (std::string line; std::getline(file, line);) {
    line.resize(std::min(line.find('#'), line.size()));
    std::erase_if(line, [](unsigned char c) { return std::isspace(c) != 0; });
    if (line.empty()) continue;
    const bool is_name = line.starts_with(kPrefix);
    const auto number = NumberIn(is_name ? line : std::string(kPrefix) + line, kPrefix);
    if (!number) {
      if (problem_ != line) {
        Log(LogLevel::kError, "DevicePlugin",
            "{}: '{}' is no number of a device: what it said before holds", options_.unhealthy_file,
            line);
      }
      problem_ = line;
      return std::nullopt;
    }
    unhealthy.insert(*number);
  }
  problem_.clear();
  return unhealthy;
}

std::map<uint32_t, bool> NodeDevices::Health() {
  if (!is_simulated()) LookForDevices();
  if (auto unhealthy = ReadUnhealthy()) unhealthy_ = std::move(*unhealthy);
  std::map<uint32_t, bool> health;
  std::error_code error;
  for (const uint32_t device : devices_) {
    const bool is_there = is_simulated() || std::filesystem::exists(
                                                options_.device_folder + "/" + Name(device), error);
    health[device] = is_there && !unhealthy_.contains(device);
  }
  return health;
}

std::string NodeDevices::Name(uint32_t device) {
  return fmt::format("{}{}", kPrefix, device);
}

std::string NodeDevices::Name(uint32_t device, uint32_t core) {
  return fmt::format("{}{}{}{}", kPrefix, device, kCorePrefix, core);
}

std::optional<NodeDevices::Unit> NodeDevices::UnitOf(std::string_view name) {
  const size_t middle = name.find(kCorePrefix);
  const auto device = NumberIn(name.substr(0, middle), kPrefix);
  if (!device) return std::nullopt;
  if (middle == std::string_view::npos) return Unit{*device, std::nullopt};
  const auto core = NumberIn(name.substr(middle), kCorePrefix);
  if (!core || *core >= kCoresOfDevice) return std::nullopt;
  return Unit{*device, core};
}

std::string NodeDevices::NodePath(uint32_t device) {
  return "/dev/" + Name(device);
}

}  // namespace nrtd::deploy
