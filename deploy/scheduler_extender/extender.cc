// SPDX-License-Identifier: Apache-2.0
#include "deploy/scheduler_extender/extender.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "base/log.h"
#include "deploy/cluster/fields.h"
#include "deploy/cluster/neighbours.h"

namespace nrtd::deploy {
namespace {

using nlohmann::json;

constexpr auto kSoon = std::chrono::seconds(1);
constexpr const char* kCalls = "neuron_scheduler_calls_total";
constexpr int64_t kBest = 10;  // MaxExtenderPriority

// The nodes that a call is about: names, or whole nodes from a scheduler that sends those.
std::vector<std::string> NodesOf(const json& arguments) {
  std::vector<std::string> names;
  for (const json& name : At(arguments, {"NodeNames"}))
    if (name.is_string()) names.push_back(name.get<std::string>());
  for (const json& node : At(arguments, {"Nodes", "items"}))
    names.push_back(TextAt(node, {"metadata", "name"}));
  return names;
}

// The items of the scheduler's own list whose names are among `names`.
json NodesAmong(const json& nodes, const std::vector<std::string>& names) {
  json kept = nodes;
  kept["items"] = json::array();
  for (const json& node : At(nodes, {"items"})) {
    if (std::find(names.begin(), names.end(), TextAt(node, {"metadata", "name"})) != names.end())
      kept["items"].push_back(node);
  }
  return kept;
}

Pod PodOf(const json& arguments, const std::string& resource) {
  return ParsePod(At(arguments, {"Pod"}), resource);
}

}  // namespace

Extender::Extender(ApiServer& api, std::string resource, Metrics& metrics)
    : api_(api), resource_(std::move(resource)), metrics_(metrics) {
  metrics_.DeclareCounter(kCalls);
}

Result<Extender::States> Extender::Look() {
  States states;
  NRTD_ASSIGN(const std::vector<json> nodes, api_.List("/api/v1/nodes?"));
  for (const json& node : nodes) {
    Node parsed = ParseNode(node, resource_);
    State& state = states[parsed.name];
    state.free = parsed.healthy;
    state.node = std::move(parsed);
  }
  NRTD_ASSIGN(const std::vector<json> pods, api_.List("/api/v1/pods?"));
  for (const json& entry : pods) {
    const Pod pod = ParsePod(entry, resource_);
    const auto state = states.find(pod.node);
    if (pod.wanted() == 0 || state == states.end() || HasEnded(entry)) continue;
    for (const uint32_t device : pod.chosen) state->second.free.erase(device);
    if (pod.chosen.empty()) state->second.untold = pod.FullName();
  }
  return states;
}

Result<Extender::States> Extender::LookSoon() {
  MutexLock lock(mutex_);
  if (!looked_ || clock_.Now() - looked_at_ > kSoon) {
    looked_.reset();
    NRTD_ASSIGN(looked_, Look());
    looked_at_ = clock_.Now();
  }
  return *looked_;
}

Result<std::set<uint32_t>> Extender::Choose(const State& state, uint32_t wanted) const {
  if (!state.untold.empty()) {
    return Fail(Nerr::kResource,
                "pod {} has devices of {} that were not chosen here: end it, or let it be "
                "scheduled again",
                state.untold, state.node.name);
  }
  const std::vector<uint32_t> chosen = ChooseNeighbours(state.free, {}, wanted);
  const bool is_run =
      chosen.size() == wanted && (wanted == 0 || chosen.back() - chosen.front() == wanted - 1);
  if (is_run) return std::set<uint32_t>(chosen.begin(), chosen.end());
  return Fail(Nerr::kResource, "{} has no {} neighbours free of {}: free are {}", state.node.name,
              wanted, resource_, state.free.empty() ? "none" : DevicesText(state.free));
}

json Extender::Filter(const json& arguments) {
  const Pod pod = PodOf(arguments, resource_);
  const std::vector<std::string> names = NodesOf(arguments);
  std::vector<std::string> fit;
  json failed = json::object();
  std::string problem;
  if (pod.wanted() == 0) {
    fit = names;
  } else if (const auto states = LookSoon(); !states) {
    problem = states.error().text;
  } else {
    for (const std::string& name : names) {
      const auto state = states->find(name);
      const auto chosen = state == states->end()
                              ? Fail(Nerr::kInvalidHandle, "the API server has no node {}", name)
                              : Choose(state->second, pod.wanted());
      if (chosen) {
        fit.push_back(name);
      } else {
        failed[name] = chosen.error().text;
      }
    }
  }
  metrics_.Count(kCalls, {{"call", "filter"}, {"error", problem.empty() ? "no" : "yes"}});
  json result{{"FailedNodes", failed}, {"Error", problem}, {"Nodes", nullptr}};
  if (const json& nodes = At(arguments, {"Nodes"}); nodes.is_object()) {
    result["NodeNames"] = nullptr;
    result["Nodes"] = NodesAmong(nodes, fit);
  } else {
    result["NodeNames"] = fit;
  }
  return result;
}

json Extender::Prioritize(const json& arguments) {
  const Pod pod = PodOf(arguments, resource_);
  const auto states = LookSoon();
  json list = json::array();
  for (const std::string& name : NodesOf(arguments)) {
    int64_t score = 0;
    if (states && states->contains(name) && pod.wanted() > 0) {
      const State& state = states->at(name);
      if (const auto chosen = Choose(state, pod.wanted())) {
        const size_t left = LengthOfRun(state.free, *chosen->begin()) - chosen->size();
        score = std::max<int64_t>(0, kBest - static_cast<int64_t>(left));
      }
    }
    list.push_back({{"Host", name}, {"Score", score}});
  }
  metrics_.Count(kCalls, {{"call", "prioritize"}, {"error", states ? "no" : "yes"}});
  return list;
}

Result<void> Extender::BindNow(const json& arguments) {
  const std::string path =
      fmt::format("/api/v1/namespaces/{}/pods/{}", TextAt(arguments, {"PodNamespace"}),
                  TextAt(arguments, {"PodName"}));
  const std::string uid = TextAt(arguments, {"PodUID"});
  const std::string node = TextAt(arguments, {"Node"});
  MutexLock lock(mutex_);
  looked_.reset();
  NRTD_ASSIGN(const json found, api_.Get(path));
  const Pod pod = ParsePod(found, resource_);
  if (pod.uid != uid) return Fail(Nerr::kInvalid, "pod {} is another one by now", pod.FullName());
  if (pod.wanted() > 0) {
    NRTD_ASSIGN(const States states, Look());
    const auto state = states.find(node);
    if (state == states.end())
      return Fail(Nerr::kInvalidHandle, "the API server has no node {}", node);
    NRTD_ASSIGN(const std::set<uint32_t> chosen, Choose(state->second, pod.wanted()));
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const json annotations{{kChosenDevices, DevicesText(chosen)},
                           {kChosenAt, fmt::to_string(std::chrono::nanoseconds(now).count())}};
    NRTD_TRY(api_.Patch(path, {{"metadata", {{"uid", uid}, {"annotations", annotations}}}}));
    Log(LogLevel::kInfo, "Scheduler", "pod {} gets devices {} of {}", pod.FullName(),
        DevicesText(chosen), node);
  }
  return api_.Create(path + "/binding",
                     {{"apiVersion", "v1"},
                      {"kind", "Binding"},
                      {"metadata", {{"name", pod.name}, {"namespace", pod.space}, {"uid", uid}}},
                      {"target", {{"apiVersion", "v1"}, {"kind", "Node"}, {"name", node}}}});
}

json Extender::Bind(const json& arguments) {
  const auto bound = BindNow(arguments);
  metrics_.Count(kCalls, {{"call", "bind"}, {"error", bound ? "no" : "yes"}});
  if (bound) return {{"Error", ""}};
  Log(LogLevel::kWarning, "Scheduler", "{}", AsIs(bound.error().text));
  return {{"Error", bound.error().text}};
}

}  // namespace nrtd::deploy
