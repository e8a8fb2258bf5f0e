// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>

#include "base/error.h"
#include "runtime/service/server.h"

namespace nrtd::service {

// Stands in for a daemon that has no device or no memory: answers every call of the public contract
// and of the control service with code 6 and the reason; only get_version, whose answer has no room
// for a status, tells the version. A session ends with gRPC's UNAVAILABLE. Threadsafe.
class UnavailableServer {
 public:
  // Errors of Server::Start().
  static Result<std::unique_ptr<UnavailableServer>> Start(Endpoint endpoint,
                                                          const std::string& reason,
                                                          boost::asio::io_context& io);
  // Removes the socket. `io` does not run any more.
  ~UnavailableServer();

  void SetReason(const std::string& reason);

 private:
  struct State;
  explicit UnavailableServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace nrtd::service
