// SPDX-License-Identifier: Apache-2.0
//
// The daemon's gRPC server: the three public services and our own, on one address.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <boost/asio/io_context.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "runtime/runtime.h"
#include "runtime/session/access.h"

namespace nrtd::service {

struct ServerOptions {
  std::string address = "unix:/run/neuron.sock";  // "unix:/path", "/path", or "host:port"
  mode_t socket_mode = 0666;
  std::optional<gid_t> socket_group;
  runtime::AccessRules access;
};

class Server {
 public:
  // Listens; takes connections to a unix socket while `io` runs. A socket file that nobody answers
  // on is replaced, one that somebody answers on is an error. kInvalid with the reason when it
  // cannot listen, or when clients by TCP, which nobody can tell apart, are to be isolated.
  // `runtime` and `io` outlive the server.
  static Result<std::unique_ptr<Server>> Start(const ServerOptions& options,
                                               runtime::Runtime& runtime,
                                               boost::asio::io_context& io);
  // `io` does not run any more.
  ~Server();

  // As clients write it.
  const std::string& address() const;

  // Takes no new calls; those under way may end until `grace` is over, then they are cancelled.
  // Removes the socket. `io` does not run any more.
  void Shutdown(Duration grace);

 private:
  struct State;
  explicit Server(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace nrtd::service
