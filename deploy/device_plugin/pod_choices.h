// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "deploy/cluster/api_server.h"

namespace nrtd::deploy {

// What the scheduler extender has chosen for the pods of this node, as their annotations say. The
// kubelet does not say which pod it asks for, so it is found: of those that have devices to get,
// the one that was bound first. Threadsafe. `api` outlives it.
class PodChoices {
 public:
  PodChoices(ApiServer& api, std::string node, std::string resource)
      : api_(api), node_(std::move(node)), resource_(std::move(resource)) {}

  // The devices for a container that asks for `count`, all of `required` among them, out of those
  // that are available. For a pod without an annotation: neighbours that no other pod's annotation
  // claims. kResource: what was chosen is not available any more; errors of the API server. The
  // kubelet then refuses the pod, and its controller makes another one, which is scheduled anew.
  Result<std::set<uint32_t>> For(const std::set<uint32_t>& available,
                                 const std::set<uint32_t>& required, uint32_t count);
  // Tells the extender, by an annotation of the node, which devices are healthy.
  Result<void> TellHealthy(const std::set<uint32_t>& healthy);

 private:
  ApiServer& api_;
  const std::string node_;
  const std::string resource_;
};

}  // namespace nrtd::deploy
