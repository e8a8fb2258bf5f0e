// SPDX-License-Identifier: Apache-2.0
//
// The daemon's gRPC server: the three public services and our own, on one address.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "runtime/runtime.h"

namespace nrtd::service {

class Server {
 public:
  // Listens on `address`: "unix:/path", "/path", or "host:port". A socket file that nobody answers
  // on is replaced, one that somebody answers on is an error. kInvalid with the reason when it
  // cannot listen. `runtime` outlives the server.
  static Result<std::unique_ptr<Server>> Start(const std::string& address,
                                               runtime::Runtime& runtime);
  ~Server();

  // As clients write it.
  const std::string& address() const;

  // Takes no new calls; those under way may end until `grace` is over, then they are cancelled.
  // Removes the socket.
  void Shutdown(Duration grace);

 private:
  struct State;
  explicit Server(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace nrtd::service
