// SPDX-License-Identifier: Apache-2.0
//
// TensorFlow Serving's REST API, without the server that carries it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "http/http_server.h"
#include "serving/rest/json.h"
#include "serving/service/calls.h"

namespace nrtd::serving {

// What a path names: /v1/models/NAME[/versions/N|/labels/L][:VERB|/metadata].
struct RestPath {
  std::string model;                   // empty: none
  std::optional<std::string> version;  // digits
  std::optional<std::string> label;
  std::string verb;  // of POST: "predict", "classify", "regress"
  bool is_metadata = false;
};
// Nothing for what the API does not have. The case of all but the verb and the names is the same.
std::optional<RestPath> ParseRestPath(std::string_view method, std::string_view target);

// Threadsafe. `calls` and `metrics` outlive it.
class RestApi {
 public:
  struct Options {
    std::string metrics_path;  // empty: none
    Duration timeout;          // of a request
  };
  RestApi(Calls& calls, const Metrics& metrics, const Options& options)
      : calls_(calls), metrics_(metrics), options_(options) {}

  // Never throws for what a client sends.
  HttpAnswer Answer(const HttpRequest& request);

 private:
  HttpAnswer AnswerApi(const HttpRequest& request);
  grpc::Status Post(const RestPath& path, const std::string& body, std::string* answer);
  grpc::Status Get(const RestPath& path, std::string* answer);
  grpc::Status Predict(const tensorflow::serving::ModelSpec& spec, const rapidjson::Value& body,
                       TimePoint deadline, std::string* answer);

  Calls& calls_;
  const Metrics& metrics_;
  const Options options_;
  Mutex large_;  // one large body at a time is a tree of values
};

// 404 for NOT_FOUND, and so on.
int HttpCode(grpc::StatusCode code);
}  // namespace nrtd::serving
