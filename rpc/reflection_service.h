// SPDX-License-Identifier: Apache-2.0
//
// grpc.reflection.v1alpha.ServerReflection out of a CallQueue, for tools like grpcurl: gRPC's own
// brings threads that read everybody's sockets (call_queue.h).
#pragma once

#include <string>
#include <vector>

#include "proto/grpc/reflection.pb.h"
#include "rpc/call_queue.h"
#include "rpc/raw_service.h"

namespace nrtd::rpc {

// Threadsafe. Outlives the queue's calls.
class ReflectionService {
 public:
  // Lists `services` and itself. Files and symbols are those of the program.
  explicit ReflectionService(std::vector<std::string> services);

  // For the server.
  RawService& service() { return service_; }
  // Takes calls; the server is running.
  void Serve(CallQueue& queue);
  // The answer to one question.
  grpc::reflection::v1alpha::ServerReflectionResponse Answer(
      const grpc::reflection::v1alpha::ServerReflectionRequest& request) const;

 private:
  std::vector<std::string> services_;
  RawService service_;
};

}  // namespace nrtd::rpc
