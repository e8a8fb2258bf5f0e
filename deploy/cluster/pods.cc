// SPDX-License-Identifier: Apache-2.0
#include "deploy/cluster/pods.h"

#include <algorithm>
#include <charconv>
#include <numeric>

#include <fmt/ranges.h>

#include "deploy/cluster/fields.h"

namespace nrtd::deploy {
namespace {

using nlohmann::json;

constexpr uint32_t kMostDevices = 1024;  // of a node

// Quantities of extended resources are whole numbers, as texts.
uint32_t CountAt(const json& object, Path path) {
  const json& at = At(object, path);
  const std::string text = at.is_string() ? at.get<std::string>() : at.dump();
  uint32_t count = 0;
  const char* const end = text.data() + text.size();
  const auto [parsed, error] = std::from_chars(text.data(), end, count);
  return error == std::errc() && parsed == end ? std::min(count, kMostDevices) : 0;
}

}  // namespace

uint32_t Pod::wanted() const {
  const uint32_t most_before = before.empty() ? 0 : *std::max_element(before.begin(), before.end());
  return std::max(most_before, std::accumulate(containers.begin(), containers.end(), uint32_t{0}));
}

bool Pod::Asks(uint32_t count) const {
  return std::count(containers.begin(), containers.end(), count) > 0 ||
         std::count(before.begin(), before.end(), count) > 0;
}

std::string PodsOfNode(const std::string& node) {
  return fmt::format("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", node);
}

bool IsObjectName(const std::string& name) {
  constexpr size_t kLongest = 253;
  return !name.empty() && name.size() <= kLongest &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
         });
}

Result<std::set<uint32_t>> ParseDevices(const std::string& text) {
  std::set<uint32_t> devices;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    uint32_t device = 0;
    const auto [parsed, error] = std::from_chars(at, end, device);
    const bool has_more = parsed != end && *parsed == ',' && parsed + 1 != end;
    if (error != std::errc() || (parsed != end && !has_more) || device >= kMostDevices)
      return Fail(Nerr::kInvalid, "'{}' is no list of devices such as '2,3'", text);
    devices.insert(device);
    at = has_more ? parsed + 1 : end;
  }
  return devices;
}

std::string DevicesText(const std::set<uint32_t>& devices) {
  return fmt::format("{}", fmt::join(devices, ","));
}

Pod ParsePod(const json& pod, const std::string& resource) {
  Pod parsed;
  parsed.space = TextAt(pod, {"metadata", "namespace"});
  parsed.name = TextAt(pod, {"metadata", "name"});
  parsed.uid = TextAt(pod, {"metadata", "uid"});
  parsed.node = TextAt(pod, {"spec", "nodeName"});
  parsed.is_pending = TextAt(pod, {"status", "phase"}) == "Pending";
  for (const json& container : At(pod, {"spec", "containers"})) {
    const uint32_t count = CountAt(container, {"resources", "limits", resource});
    if (count > 0) parsed.containers.push_back(count);
  }
  for (const json& container : At(pod, {"spec", "initContainers"})) {
    const uint32_t count = CountAt(container, {"resources", "limits", resource});
    // restartPolicy Always makes it a sidecar, which keeps running next to the others.
    const bool is_sidecar = TextAt(container, {"restartPolicy"}) == "Always";
    if (count > 0) (is_sidecar ? parsed.containers : parsed.before).push_back(count);
  }
  if (auto chosen = ParseDevices(TextAt(pod, {"metadata", "annotations", kChosenDevices})))
    parsed.chosen = std::move(*chosen);
  const std::string at = TextAt(pod, {"metadata", "annotations", kChosenAt});
  std::from_chars(at.data(), at.data() + at.size(), parsed.chosen_at);
  return parsed;
}

bool HasEnded(const json& pod) {
  const std::string phase = TextAt(pod, {"status", "phase"});
  return phase == "Succeeded" || phase == "Failed";
}

Node ParseNode(const json& node, const std::string& resource) {
  Node parsed{TextAt(node, {"metadata", "name"}), {}};
  const json& healthy = At(node, {"metadata", "annotations", kHealthyDevices});
  auto devices = ParseDevices(healthy.is_string() ? healthy.get<std::string>() : "");
  if (devices && healthy.is_string()) {
    parsed.healthy = std::move(*devices);
  } else {
    const uint32_t count = CountAt(node, {"status", "allocatable", resource});
    for (uint32_t device = 0; device < count; ++device) parsed.healthy.insert(device);
  }
  return parsed;
}

}  // namespace nrtd::deploy
