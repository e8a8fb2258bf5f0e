// SPDX-License-Identifier: Apache-2.0
//
// grpc.reflection.v1alpha.ServerReflection on a CallQueue, for tools like grpcurl. gRPC's own
// implementation starts threads that read the sockets of all clients (call_queue.h).
#pragma once

#include <string>
#include <vector>

#include "proto/grpc/reflection.pb.h"
#include "rpc/call_queue.h"
#include "rpc/raw_service.h"

namespace nrtd::rpc {

// Threadsafe. Must outlive the queue's calls.
class ReflectionService {
 public:
  // Lists `services` and itself. Serves the files and symbols that are linked into the program.
  explicit ReflectionService(std::vector<std::string> services);

  // To be registered with the server.
  RawService& service() { return service_; }
  // Starts taking calls. Requires that the server is running.
  void Serve(CallQueue& queue);
  // Answers one request of a stream.
  grpc::reflection::v1alpha::ServerReflectionResponse Answer(
      const grpc::reflection::v1alpha::ServerReflectionRequest& request) const;

 private:
  std::vector<std::string> services_;
  RawService service_;
};

}  // namespace nrtd::rpc
