// SPDX-License-Identifier: Apache-2.0
#include "deploy/device_plugin/node_devices.h"

#include <charconv>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "base/inf1_instances.h"

namespace nrtd::deploy {
namespace {

constexpr std::string_view kPrefix = "neuron";

std::optional<uint32_t> NumberIn(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return number;
}

}  // namespace

Result<NodeDevices> NodeDevices::Find(const Options& options) {
  std::map<uint32_t, bool> devices;
  if (!options.simulate.empty()) {
    NRTD_ASSIGN(const uint32_t count, DevicesOfInstance(options.simulate));
    for (uint32_t i = 0; i < count; ++i) devices[i] = true;
    return NodeDevices(options, std::move(devices));
  }
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(options.device_folder, error)) {
    if (const auto number = NumberIn(entry.path().filename().string())) devices[*number] = true;
  }
  return NodeDevices(options, std::move(devices));
}

std::map<uint32_t, bool> NodeDevices::Health() const {
  std::map<uint32_t, bool> health = devices_;
  std::error_code error;
  if (!is_simulated()) {
    for (auto& [device, healthy] : health)
      healthy = std::filesystem::exists(NodePath(device), error);
  }
  std::ifstream unhealthy(options_.unhealthy_file);
  for (uint32_t device = 0; unhealthy >> device;)
    if (const auto found = health.find(device); found != health.end()) found->second = false;
  return health;
}

std::string NodeDevices::Name(uint32_t device) {
  return fmt::format("{}{}", kPrefix, device);
}

std::optional<uint32_t> NodeDevices::NumberOf(const std::string& name) const {
  const auto number = NumberIn(name);
  return number && devices_.contains(*number) ? number : std::nullopt;
}

std::string NodeDevices::NodePath(uint32_t device) const {
  return options_.device_folder + "/" + Name(device);
}

}  // namespace nrtd::deploy
