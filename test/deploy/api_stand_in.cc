// SPDX-License-Identifier: Apache-2.0
#include "test/deploy/api_stand_in.h"

#include <fmt/format.h>

#include "test/must.h"

namespace nrtd::deploy {
namespace {

using nlohmann::json;

constexpr const char* kResource = "aws.amazon.com/neuron";

HttpAnswer Refuse(int code, const std::string& reason) {
  return {code, "application/json",
          json{{"kind", "Status"}, {"status", "Failure"}, {"message", reason}}.dump()};
}

json Container(uint32_t devices) {
  return {{"resources", {{"limits", {{kResource, std::to_string(devices)}}}}}};
}

// What follows `prefix`, if the text begins so.
bool TakePrefix(std::string& text, const std::string& prefix) {
  if (!text.starts_with(prefix)) return false;
  text.erase(0, prefix.size());
  return true;
}

}  // namespace

ApiStandIn::ApiStandIn()
    : server_(Must(HttpServer::Start(
          0, 2, [this](const HttpRequest& request) { return Answer(request); }))) {}

std::string ApiStandIn::url() const {
  return fmt::format("http://127.0.0.1:{}", server_->port());
}

void ApiStandIn::AddNode(const std::string& name, uint32_t devices) {
  MutexLock lock(mutex_);
  nodes_[name] = {{"metadata", {{"name", name}}},
                  {"status", {{"allocatable", {{kResource, std::to_string(devices)}}}}}};
}

void ApiStandIn::AddPod(const std::string& name, const std::vector<uint32_t>& containers) {
  json list = json::array();
  for (const uint32_t count : containers) list.push_back(Container(count));
  MutexLock lock(mutex_);
  pods_[name] = {{"metadata", {{"name", name}, {"namespace", "default"}, {"uid", "uid-" + name}}},
                 {"spec", {{"containers", list}}},
                 {"status", {{"phase", "Pending"}}}};
}

void ApiStandIn::AddInitContainer(const std::string& pod, uint32_t devices) {
  MutexLock lock(mutex_);
  pods_.at(pod)["spec"]["initContainers"].push_back(Container(devices));
}

void ApiStandIn::Bind(const std::string& name, const std::string& node) {
  MutexLock lock(mutex_);
  pods_.at(name)["spec"]["nodeName"] = node;
}

void ApiStandIn::SetPhase(const std::string& name, const std::string& phase) {
  MutexLock lock(mutex_);
  pods_.at(name)["status"]["phase"] = phase;
}

void ApiStandIn::Annotate(const std::string& name, const std::string& key,
                          const std::string& value) {
  MutexLock lock(mutex_);
  pods_.at(name)["metadata"]["annotations"][key] = value;
}

void ApiStandIn::Remove(const std::string& name) {
  MutexLock lock(mutex_);
  pods_.erase(name);
}

json ApiStandIn::pod(const std::string& name) {
  MutexLock lock(mutex_);
  return pods_.at(name);
}

json ApiStandIn::node(const std::string& name) {
  MutexLock lock(mutex_);
  return nodes_.at(name);
}

void ApiStandIn::Fail(int code) {
  MutexLock lock(mutex_);
  fail_ = code;
}

// One object a page, however many are asked for.
HttpAnswer ApiStandIn::List(const std::map<std::string, json>& objects, const std::string& target) {
  std::string after;
  if (const size_t at = target.find("continue="); at != std::string::npos)
    after = target.substr(at + 9);
  std::string node;
  if (const size_t at = target.find("spec.nodeName%3D"); at != std::string::npos)
    node = target.substr(at + 16, target.find('&', at) - at - 16);
  json items = json::array();
  json metadata = json::object();
  for (auto next = objects.upper_bound(after); next != objects.end(); ++next) {
    if (!node.empty() && next->second["spec"].value("nodeName", "") != node) continue;
    if (!items.empty()) {
      metadata["continue"] = items[0]["metadata"]["name"];
      break;
    }
    items.push_back(next->second);
  }
  return {200, "application/json", json{{"metadata", metadata}, {"items", items}}.dump()};
}

HttpAnswer ApiStandIn::Answer(const HttpRequest& request) {
  MutexLock lock(mutex_);
  if (fail_ != 0) return Refuse(fail_, "out of order");
  std::string rest = request.target;
  if (TakePrefix(rest, "/api/v1/nodes?")) return List(nodes_, rest);
  if (TakePrefix(rest, "/api/v1/pods?")) return List(pods_, rest);
  const bool is_node = TakePrefix(rest, "/api/v1/nodes/");
  if (!is_node && !TakePrefix(rest, "/api/v1/namespaces/default/pods/"))
    return Refuse(404, request.target);
  const bool is_binding = rest.ends_with("/binding");
  if (is_binding) rest.resize(rest.size() - 8);
  auto& objects = is_node ? nodes_ : pods_;
  const auto found = objects.find(rest);
  if (found == objects.end()) return Refuse(404, fmt::format("\"{}\" not found", rest));
  json& object = found->second;
  if (is_binding) {
    if (object["spec"].contains("nodeName")) return Refuse(409, "it is bound");
    const json binding = json::parse(request.body);
    object["spec"]["nodeName"] = binding["target"]["name"];
    object["metadata"].merge_patch({{"annotations", binding["metadata"]["annotations"]}});
    return {201, "application/json", "{}"};
  }
  if (request.method == "PATCH") object.merge_patch(json::parse(request.body));
  return {200, "application/json", object.dump()};
}

}  // namespace nrtd::deploy
