// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/platform.h"

#include <algorithm>
#include <cctype>
#include <memory>
#include <string_view>

#include <dirent.h>

#include "driver_shim/sim/sim_platform.h"

namespace nrtd {
namespace {

// "neuron0", "neuron1", ...: the nodes that the kernel driver makes.
bool IsDeviceNode(std::string_view name) {
  constexpr std::string_view kPrefix = "neuron";
  return name.size() > kPrefix.size() && name.starts_with(kPrefix) &&
         std::all_of(name.begin() + kPrefix.size(), name.end(),
                     [](unsigned char c) { return std::isdigit(c) != 0; });
}

std::vector<std::string> FindDeviceNodes(const std::string& directory) {
  std::vector<std::string> nodes;
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(directory.c_str()), ::closedir);
  if (stream == nullptr) return nodes;
  while (const dirent* entry = ::readdir(stream.get())) {
    if (IsDeviceNode(entry->d_name)) nodes.push_back(directory + "/" + entry->d_name);
  }
  std::sort(nodes.begin(), nodes.end());
  return nodes;
}

}  // namespace

Result<std::unique_ptr<Platform>> OpenPlatform(const PlatformOptions& options) {
  if (!options.simulate.empty()) {
    NRTD_ASSIGN(std::unique_ptr<Platform> platform, sim::SimPlatform::Create(options));
    return platform;
  }
  const auto nodes = FindDeviceNodes(options.device_dir);
  if (nodes.empty()) {
    return Fail(Nerr::kHwError,
                "no Inferentia found: {}/neuron0 does not exist. Install the kernel driver "
                "(aws-neuron-dkms), or start "
                "with --sim inf1.xlarge to use a simulated device",
                options.device_dir);
  }
  return Fail(
      Nerr::kHwError,
      "found {}, but this version drives simulated devices only: start with --sim inf1.xlarge",
      nodes.front());
}

}  // namespace nrtd
