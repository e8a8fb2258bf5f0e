// SPDX-License-Identifier: Apache-2.0
//
// grpc.health.v1.Health out of a CallQueue: gRPC's own brings threads that read everybody's
// sockets (call_queue.h).
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "rpc/call_queue.h"
#include "rpc/raw_service.h"

namespace nrtd::rpc {

// Threadsafe. Outlives the queue's calls.
class HealthService {
 public:
  // `services` are healthy, and so is "", the server as a whole, until ShutDown().
  explicit HealthService(std::vector<std::string> services);

  // For the server.
  RawService& service() { return service_; }
  // Takes calls; the server is running.
  void Serve(CallQueue& queue);
  // Reports NOT_SERVING from now on; sends that to all watchers and ends their streams. Call it
  // before shutting the server down.
  void ShutDown();

 private:
  class WatchCall;
  bool Knows(const std::string& service) const;

  const std::vector<std::string> services_;
  RawService service_{"grpc.health.v1.Health"};
  Mutex mutex_;
  bool serving_ NRTD_GUARDED_BY(mutex_) = true;
  std::set<WatchCall*> watching_ NRTD_GUARDED_BY(mutex_);
};

}  // namespace nrtd::rpc
