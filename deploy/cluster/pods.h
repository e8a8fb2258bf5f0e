// SPDX-License-Identifier: Apache-2.0
//
// Which devices the pods of a cluster have, as annotations of pods and nodes say.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace nrtd::deploy {

// Of a pod: its devices, "2,3". The extender writes it before it binds the pod.
inline constexpr const char* kChosenDevices = "NEURON_DEVS";
// Of a pod: when that was, in nanoseconds since 1970.
inline constexpr const char* kChosenAt = "NEURON_DEVS_CHOSEN_AT";
// Of a node: its healthy devices, "0,1,3". The device plugin writes it.
inline constexpr const char* kHealthyDevices = "NEURON_DEVS_HEALTHY";

struct Pod {
  std::string space;  // its namespace
  std::string name;
  std::string uid;
  std::string node;  // empty: it is not bound to one
  bool is_pending = false;
  // How many devices each container asks for that asks for any: those that run together, and those
  // that run before, one after the other.
  std::vector<uint32_t> containers;
  std::vector<uint32_t> before;
  std::set<uint32_t> chosen;
  int64_t chosen_at = 0;

  uint32_t wanted() const;
  // Whether a container asks for exactly so many.
  bool Asks(uint32_t count) const;
  // "default/bert-5c7"
  std::string FullName() const { return space + "/" + name; }
};

// "1-3" is not understood, nor is anything but numbers with commas; empty: none.
Result<std::set<uint32_t>> ParseDevices(const std::string& text);
std::string DevicesText(const std::set<uint32_t>& devices);

// Out of a pod as the API server gives it. An annotation that is not understood counts as none.
Pod ParsePod(const nlohmann::json& pod, const std::string& resource);

// The path of the list of a node's pods.
std::string PodsOfNode(const std::string& node);
// Whether an object could have this name: 'a' to 'z', digits, '-' and '.', 253 at most.
bool IsObjectName(const std::string& name);

// A pod that has ended holds no devices.
bool HasEnded(const nlohmann::json& pod);

struct Node {
  std::string name;
  std::set<uint32_t> healthy;
};
// The devices that the annotation names, otherwise as many as the node can give, from 0.
Node ParseNode(const nlohmann::json& node, const std::string& resource);

}  // namespace nrtd::deploy
