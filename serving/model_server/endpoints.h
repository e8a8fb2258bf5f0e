// SPDX-License-Identifier: Apache-2.0
//
// The model server's endpoints: gRPC on TCP and, if the flags say so, on a unix socket, and HTTP.
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
  // Starts serving; gRPC is served by `queue`, which belongs to the builder and is running.
  // `calls`, `metrics` and `queue` must outlive the endpoints. kInvalid if a port or file cannot be
  // used; errors of ReadTextMessage().
  static Result<std::unique_ptr<Endpoints>> Open(const Flags& flags, grpc::ServerBuilder& builder,
                                                 rpc::CallQueue& queue, Calls& calls,
                                                 const Metrics& metrics);
  // Cancels requests in flight, unless Close() was called.
  ~Endpoints();
  // Accepts no more requests, and waits for those in flight at most as long as `grace`.
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
