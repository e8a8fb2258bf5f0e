// SPDX-License-Identifier: Apache-2.0
#include "deploy/device_plugin/pod_choices.h"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <vector>

#include "deploy/cluster/pods.h"

namespace nrtd::deploy {

Result<std::optional<std::set<uint32_t>>> PodChoices::For(const std::set<uint32_t>& available,
                                                          const std::set<uint32_t>& required,
                                                          uint32_t count) {
  NRTD_ASSIGN(const auto items,
              api_.List(fmt::format("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", node_)));
  std::vector<Pod> pods;
  for (const nlohmann::json& item : items) pods.push_back(ParsePod(item, resource_));
  std::sort(pods.begin(), pods.end(), [](const Pod& a, const Pod& b) {
    return std::tie(a.chosen_at, a.uid) < std::tie(b.chosen_at, b.uid);
  });
  for (const Pod& pod : pods) {
    const bool asks = std::count(pod.containers.begin(), pod.containers.end(), count) > 0 ||
                      pod.most_before == count;
    if (!pod.is_pending || !asks) continue;
    // Those that its other containers have are not available any more.
    std::set<uint32_t> left;
    std::set_intersection(pod.chosen.begin(), pod.chosen.end(), available.begin(), available.end(),
                          std::inserter(left, left.end()));
    const bool has_required =
        std::includes(left.begin(), left.end(), required.begin(), required.end());
    if (left.size() < count || !has_required) continue;
    std::set<uint32_t> devices = required;
    for (const uint32_t device : left)
      if (devices.size() < count) devices.insert(device);
    return devices;
  }
  return std::nullopt;
}

Result<void> PodChoices::TellHealthy(const std::set<uint32_t>& healthy) {
  return api_.Patch("/api/v1/nodes/" + node_,
                    {{"metadata", {{"annotations", {{kHealthyDevices, DevicesText(healthy)}}}}}});
}

}  // namespace nrtd::deploy
