// SPDX-License-Identifier: Apache-2.0
//
// The part of Kubernetes' scheduler that knows about chains of devices. The scheduler counts; a pod
// that wants several devices wants neighbours.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/mutex.h"
#include "deploy/cluster/api_server.h"
#include "deploy/cluster/pods.h"
#include "http/metrics.h"

namespace nrtd::deploy {

// The calls of the scheduler's extender API (extender/v1), as JSON objects. It keeps nothing: which
// devices are taken stands in annotations of the pods that have them, so that it may be restarted
// at any time. Only one may run in a cluster at a time. Threadsafe.
class Extender {
 public:
  // `api` and `metrics` outlive it. `resource`: "aws.amazon.com/neuron".
  Extender(ApiServer& api, std::string resource, Metrics& metrics);

  // ExtenderArgs to ExtenderFilterResult: the nodes that have enough free neighbours, and for each
  // other one why not, in the same words for nodes that are alike, since the scheduler counts them.
  nlohmann::json Filter(const nlohmann::json& arguments);
  // ExtenderArgs to HostPriorityList, 0 to 10: the shorter the run that the devices are taken out
  // of, the better, so that long runs stay whole for pods that need them.
  nlohmann::json Prioritize(const nlohmann::json& arguments);
  // ExtenderBindingArgs to ExtenderBindingResult: chooses the devices and binds the pod, with its
  // annotation, in one step of the API server's. A pod that is bound, or wants no devices, is
  // refused.
  nlohmann::json Bind(const nlohmann::json& arguments);

 private:
  // Of one node.
  struct State {
    std::set<uint32_t> free;
    std::string untracked_pod;  // has devices but no annotation; empty: there is none
  };
  using States = std::map<std::string, State>;  // by the node's name

  // A pod takes its devices off its node's state.
  void Take(const nlohmann::json& pod, States& states) const;
  Result<States> LookAtAll();
  Result<State> LookAt(const std::string& node);
  // Of all nodes, cached for a second: filter and prioritize for a pod follow each other.
  Result<States> LookSoon();
  Result<std::set<uint32_t>> Choose(const State& state, uint32_t wanted) const;
  Result<void> BindNow(const nlohmann::json& arguments);

  ApiServer& api_;
  const std::string resource_;
  Metrics& metrics_;
  SteadyClock clock_;
  Mutex bind_mutex_;  // what is chosen is written down before anybody else chooses
  Mutex look_mutex_;
  std::optional<States> looked_ NRTD_GUARDED_BY(look_mutex_);
  TimePoint looked_at_ NRTD_GUARDED_BY(look_mutex_);
};

}  // namespace nrtd::deploy
