// SPDX-License-Identifier: Apache-2.0
//
// Where clients reach the model server: gRPC by TCP, and by a unix socket and HTTP if flags say so.
#pragma once

#include <chrono>
#include <memory>

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include "http/http_server.h"
#include "rpc/health_service.h"
#include "rpc/reflection_service.h"
#include "serving/model_server/flags.h"
#include "serving/rest/rest_api.h"
#include "serving/service/grpc_services.h"

namespace nrtd::serving {

class Endpoints {
 public:
  // Serves from now on, gRPC out of `queue`, which is the builder's and runs. `calls`, `metrics`
  // and `queue` outlive it. kInvalid: a port or file that cannot be used; errors of
  // ReadTextMessage().
  static Result<std::unique_ptr<Endpoints>> Open(const Flags& flags, grpc::ServerBuilder& builder,
                                                 rpc::CallQueue& queue, Calls& calls,
                                                 const Metrics& metrics);
  // Gives requests under way no time, unless it was closed.
  ~Endpoints();
  // Takes no more requests and gives those under way so long.
  void Close(std::chrono::seconds grace);

 private:
  Endpoints(rpc::CallQueue& queue, Calls& calls);
  Result<void> OpenGrpc(const Flags& flags, grpc::ServerBuilder& builder);
  Result<void> OpenRest(const Flags& flags, Calls& calls, const Metrics& metrics);

  rpc::CallQueue& queue_;
  GrpcServices services_;
  rpc::HealthService health_;
  rpc::ReflectionService reflection_;
  std::unique_ptr<grpc::Server> grpc_;
  std::unique_ptr<RestApi> rest_;
  std::unique_ptr<HttpServer> http_;
};

}  // namespace nrtd::serving
