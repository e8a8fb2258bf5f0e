// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/mutex.h"
#include "http/http_server.h"

namespace nrtd::deploy {

// As much of an API server as the programs here ask of it, over HTTP: nodes, pods, merge patches,
// bindings. Threadsafe.
class ApiStandIn {
 public:
  ApiStandIn();
  std::string url() const;

  // A node that can give so many devices.
  void AddNode(const std::string& name, uint32_t devices);
  // A pod whose containers ask for so many devices each, in the namespace "default", with the uid
  // "uid-NAME".
  void AddPod(const std::string& name, const std::vector<uint32_t>& containers);
  void AddInitContainer(const std::string& pod, uint32_t devices);
  void Bind(const std::string& name, const std::string& node);
  void SetPhase(const std::string& name, const std::string& phase);
  void Annotate(const std::string& name, const std::string& key, const std::string& value);
  void Remove(const std::string& name);
  nlohmann::json pod(const std::string& name);
  nlohmann::json node(const std::string& name);
  // From now on every answer has this code.
  void Fail(int code);

 private:
  HttpAnswer Answer(const HttpRequest& request);
  HttpAnswer List(const std::map<std::string, nlohmann::json>& objects, const std::string& target)
      NRTD_REQUIRES(mutex_);

  Mutex mutex_;
  std::map<std::string, nlohmann::json> nodes_ NRTD_GUARDED_BY(mutex_);
  std::map<std::string, nlohmann::json> pods_ NRTD_GUARDED_BY(mutex_);
  int fail_ NRTD_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<HttpServer> server_;  // ends first
};

}  // namespace nrtd::deploy
