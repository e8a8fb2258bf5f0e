// SPDX-License-Identifier: Apache-2.0
//
// grpc.health.v1.Health on a CallQueue. gRPC's own implementation starts threads that read the
// sockets of all clients, which a CallQueue must do alone (call_queue.h).
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "rpc/call_queue.h"
#include "rpc/raw_service.h"

namespace nrtd::rpc {

// Threadsafe. Must outlive the queue's calls.
class HealthService {
 public:
  // Reports `services`, and "" (the whole server), as SERVING until ShutDown().
  explicit HealthService(std::vector<std::string> services);

  // To be registered with the server.
  RawService& service() { return service_; }
  // Starts taking calls. Requires that the server is running.
  void Serve(CallQueue& queue);
  // Reports NOT_SERVING from now on, sends that to all watchers and ends their streams. Call it
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
