// SPDX-License-Identifier: Apache-2.0
#include "deploy/device_plugin/pod_choices.h"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <vector>

#include "deploy/cluster/neighbours.h"
#include "deploy/cluster/pods.h"

namespace nrtd::deploy {
namespace {

using Devices = std::set<uint32_t>;

Devices Both(const Devices& a, const Devices& b) {
  Devices both;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::inserter(both, both.end()));
  return both;
}

Devices Without(const Devices& a, const Devices& b) {
  Devices rest;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::inserter(rest, rest.end()));
  return rest;
}

}  // namespace

Result<Devices> PodChoices::For(const Devices& available, const Devices& required, uint32_t count) {
  std::vector<Pod> waiting;
  Devices promised;
  NRTD_TRY(api_.ForEach(PodsOfNode(node_), [&](const nlohmann::json& entry) {
    Pod pod = ParsePod(entry, resource_);
    if (!pod.is_pending) return;
    promised.insert(pod.chosen.begin(), pod.chosen.end());
    if (pod.Asks(count)) waiting.push_back(std::move(pod));
  }));
  std::sort(waiting.begin(), waiting.end(), [](const Pod& a, const Pod& b) {
    return std::tie(a.chosen_at, a.uid) < std::tie(b.chosen_at, b.uid);
  });
  bool is_chosen_for = !waiting.empty();
  for (const Pod& pod : waiting) {
    if (pod.chosen.empty()) is_chosen_for = false;
    // Those that its other containers have are not available any more.
    const Devices left = Both(pod.chosen, available);
    const bool has_required =
        std::includes(left.begin(), left.end(), required.begin(), required.end());
    if (left.size() < count || !has_required) continue;
    Devices devices = required;
    for (const uint32_t device : left)
      if (devices.size() < count) devices.insert(device);
    return devices;
  }
  if (is_chosen_for) {
    return Fail(Nerr::kResource,
                "{} devices are wanted, and those that were chosen for pod {} are not available",
                count, waiting.back().FullName());
  }
  Devices free = Without(available, Without(promised, required));
  if (free.size() < count) free = available;
  return ChooseNeighbours(free, required, count);
}

Result<void> PodChoices::TellHealthy(const Devices& healthy) {
  return api_.Patch("/api/v1/nodes/" + node_,
                    {{"metadata", {{"annotations", {{kHealthyDevices, DevicesText(healthy)}}}}}});
}

}  // namespace nrtd::deploy
