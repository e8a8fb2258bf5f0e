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
  json kept{{"items", json::array()}};
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

void Extender::Take(const json& entry, States& states) const {
  const Pod pod = ParsePod(entry, resource_);
  const auto state = states.find(pod.node);
  if (pod.wanted() == 0 || state == states.end() || HasEnded(entry)) return;
  for (const uint32_t device : pod.chosen) state->second.free.erase(device);
  if (pod.chosen.empty()) state->second.untracked_pod = pod.FullName();
}

Result<Extender::States> Extender::LookAtAll() {
  States states;
  NRTD_TRY(api_.ForEach("/api/v1/nodes?", [&](const json& entry) {
    Node node = ParseNode(entry, resource_);
    states[node.name].free = std::move(node.healthy);
  }));
  NRTD_TRY(api_.ForEach("/api/v1/pods?", [&](const json& entry) { Take(entry, states); }));
  return states;
}

Result<Extender::State> Extender::LookAt(const std::string& node) {
  NRTD_ASSIGN(const json found, api_.Get("/api/v1/nodes/" + node));
  States states;
  states[node].free = ParseNode(found, resource_).healthy;
  NRTD_TRY(api_.ForEach(PodsOfNode(node), [&](const json& entry) { Take(entry, states); }));
  return states.at(node);
}

Result<Extender::States> Extender::LookSoon() {
  MutexLock lock(look_mutex_);
  if (!looked_ || clock_.Now() - looked_at_ > kSoon) {
    looked_.reset();
    NRTD_ASSIGN(looked_, LookAtAll());
    looked_at_ = clock_.Now();
  }
  return *looked_;
}

Result<std::set<uint32_t>> Extender::Choose(const State& state, uint32_t wanted) const {
  if (!state.untracked_pod.empty()) {
    return Fail(
        Nerr::kResource,
        "pod {} has devices that were not chosen here: end it, or let it be scheduled again",
        state.untracked_pod);
  }
  std::set<uint32_t> chosen = ChooseNeighbours(state.free, {}, wanted);
  if (chosen.size() == wanted && wanted > 0 && *chosen.rbegin() - *chosen.begin() == wanted - 1)
    return chosen;
  return Fail(Nerr::kResource, "no {} neighbours free of {} (free: {})", wanted, resource_,
              state.free.empty() ? "none" : DevicesText(state.free));
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
                              ? Fail(Nerr::kInvalidHandle, "the API server has no such node")
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
  const std::string space = TextAt(arguments, {"PodNamespace"});
  const std::string name = TextAt(arguments, {"PodName"});
  const std::string uid = TextAt(arguments, {"PodUID"});
  const std::string node = TextAt(arguments, {"Node"});
  for (const std::string& part : {space, name, node})
    if (!IsObjectName(part)) return Fail(Nerr::kInvalid, "'{}' names nothing in a cluster", part);
  const std::string path = fmt::format("/api/v1/namespaces/{}/pods/{}", space, name);
  MutexLock lock(bind_mutex_);
  NRTD_ASSIGN(const json found, api_.Get(path));
  const Pod pod = ParsePod(found, resource_);
  if (uid.empty() || pod.uid != uid)
    return Fail(Nerr::kInvalid, "pod {} is another one by now", pod.FullName());
  // The scheduler may ask again for what it has not waited for.
  if (!pod.node.empty())
    return Fail(Nerr::kInvalid, "pod {} is bound to {}", pod.FullName(), pod.node);
  if (pod.wanted() == 0)
    return Fail(Nerr::kInvalid, "pod {} wants no {}", pod.FullName(), resource_);
  NRTD_ASSIGN(const State state, LookAt(node));
  NRTD_ASSIGN(const std::set<uint32_t> chosen, Choose(state, pod.wanted()));
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const json annotations{{kChosenDevices, DevicesText(chosen)},
                         {kChosenAt, fmt::to_string(std::chrono::nanoseconds(now).count())}};
  const json metadata{
      {"name", pod.name}, {"namespace", pod.space}, {"uid", uid}, {"annotations", annotations}};
  NRTD_TRY(api_.Create(path + "/binding",
                       {{"apiVersion", "v1"},
                        {"kind", "Binding"},
                        {"metadata", metadata},
                        {"target", {{"apiVersion", "v1"}, {"kind", "Node"}, {"name", node}}}}));
  Log(LogLevel::kInfo, "Scheduler", "pod {} has devices {} of {}", pod.FullName(),
      DevicesText(chosen), node);
  MutexLock look(look_mutex_);
  looked_.reset();
  return {};
}

json Extender::Bind(const json& arguments) {
  const auto bound = BindNow(arguments);
  metrics_.Count(kCalls, {{"call", "bind"}, {"error", bound ? "no" : "yes"}});
  if (bound) return {{"Error", ""}};
  Log(LogLevel::kWarning, "Scheduler", "{}", AsIs(bound.error().text));
  return {{"Error", bound.error().text}};
}

}  // namespace nrtd::deploy
