// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace nrtd::deploy {

// The API server of the cluster, as a pod's service account reaches it: HTTPS by libcurl, ten
// seconds for a request at most. Threadsafe; one request at a time.
class ApiServer {
 public:
  struct Options {
    // "https://10.0.0.1:443"; empty: as the pod's environment says.
    std::string url;
    // With the files token and ca.crt. For a URL of http:// they may be missing.
    std::string account = "/var/run/secrets/kubernetes.io/serviceaccount";
  };
  // kInvalid: no URL, and none in the environment.
  static Result<std::unique_ptr<ApiServer>> Make(const Options& options);
  virtual ~ApiServer() = default;

  // Errors: kFail where nothing answers, kInvalidHandle for what is not there (404), kInvalid for
  // everything else that the server refuses, with its reason.
  virtual Result<nlohmann::json> Get(const std::string& path) = 0;
  // Calls `visit` with each item of a list, which comes page by page. `path` has a query, if only
  // an empty one.
  Result<void> ForEach(const std::string& path,
                       const std::function<void(const nlohmann::json&)>& visit);
  // Changes what `changes` names and leaves the rest (RFC 7396).
  virtual Result<void> Patch(const std::string& path, const nlohmann::json& changes) = 0;
  virtual Result<void> Create(const std::string& path, const nlohmann::json& object) = 0;
};

}  // namespace nrtd::deploy
