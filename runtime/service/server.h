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
#include "runtime/service/listener.h"
#include "runtime/session/access.h"

namespace nrtd::service {

struct ServerOptions {
  std::string address = "unix:/run/neuron.sock";  // "unix:/path", "/path", or "host:port"
  mode_t socket_mode = 0666;
  std::optional<gid_t> socket_group;
  runtime::AccessRules access;
  uint32_t call_rate = 100;  // RateLimiter's tokens a second; 0: no limit
};

// What a server listens on.
class Endpoint {
 public:
  // Takes a unix socket's place, which may need privileges. Errors of BoundSocket::Bind; kInvalid
  // when clients by TCP, which nobody can tell apart, are to be isolated.
  static Result<Endpoint> Reserve(const ServerOptions& options);

  const std::string& address() const { return address_; }  // as clients write it
  bool by_tcp() const { return !socket_; }
  // The folder of the socket if it was empty before the socket was made, otherwise "".
  const std::string& fresh_folder() const { return fresh_folder_; }

 private:
  friend class Server;
  std::string address_;
  std::string fresh_folder_;
  std::optional<BoundSocket> socket_;  // none for TCP: gRPC listens itself
};

// What a server serves. All outlive it.
struct Served {
  runtime::SessionTable& sessions;  // the runtime's
  runtime::Runtime* runtime;        // null: it comes later
  const std::string& reason;        // why it is not there
  Clock& clock;
};

// Serves from the start. As long as there is no runtime (its devices or its memory are missing),
// get_version, sessions, ListSessions, ListClients and Health work, and every other call is
// answered with code 6 and the reason; the same connections and streams go on when it comes.
class Server {
 public:
  // Listens; takes connections to a unix socket while `io` runs, which outlives the server.
  // kInvalid with the reason when it cannot listen.
  static Result<std::unique_ptr<Server>> Start(Endpoint endpoint, const ServerOptions& options,
                                               const Served& served, boost::asio::io_context& io);
  // `io` does not run any more.
  ~Server();

  // As clients write it.
  const std::string& address() const;

  // Why there is no runtime. Before Provide().
  void SetReason(const std::string& reason);
  // The runtime, from now on. It outlives the server. At most once, and not if Start() had one.
  void Provide(runtime::Runtime& runtime);

  // Takes no new calls but those that collect results. Calls under way may end, and posted results
  // may be collected, until `grace` is over; then what is left is cancelled. Removes the socket.
  // `io` does not run any more, but by this.
  void Shutdown(Duration grace);

 private:
  struct State;
  explicit Server(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace nrtd::service
