// SPDX-License-Identifier: Apache-2.0
//
// Where clients reach the model server: gRPC by TCP, and by a unix socket and HTTP if flags say so.
#pragma once

#include <chrono>
#include <memory>

#include <grpcpp/server.h>

#include "http/http_server.h"
#include "serving/model_server/flags.h"
#include "serving/rest/rest_api.h"
#include "serving/service/grpc_services.h"

namespace nrtd::serving {

class Endpoints {
 public:
  // Serves from now on. `calls` and `metrics` outlive it. kInvalid: a port or file that cannot be
  // used; errors of ReadTextMessage().
  static Result<std::unique_ptr<Endpoints>> Open(const Flags& flags, Calls& calls,
                                                 const Metrics& metrics);
  // Takes no more requests and gives those under way so long.
  void Close(std::chrono::seconds grace);

 private:
  explicit Endpoints(Calls& calls) : prediction_(calls), models_(calls) {}
  Result<void> OpenGrpc(const Flags& flags);
  Result<void> OpenRest(const Flags& flags, Calls& calls, const Metrics& metrics);

  PredictionService prediction_;
  ModelService models_;
  std::unique_ptr<grpc::Server> grpc_;
  std::unique_ptr<RestApi> rest_;
  std::unique_ptr<HttpServer> http_;
};

}  // namespace nrtd::serving
