// SPDX-License-Identifier: Apache-2.0
//
// The daemon's unix socket. gRPC could listen on it by itself, but does not tell who connects, nor
// when somebody goes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include <boost/asio/io_context.hpp>

#include "base/error.h"
#include "runtime/service/bound_socket.h"
#include "runtime/session/client.h"

namespace nrtd::service {

// The numbers that connections get as descriptors. Below are the daemon's own files.
inline constexpr int kFirstNumber = 128;
inline constexpr int kEndOfNumbers = 1 << 20;  // what the kernel allows by default (fs.nr_open)

// All calls come on the thread that runs the io_context.
struct ListenerEvents {
  // `descriptor`, non-blocking and now the callee's, is a number that no connection had for as long
  // as possible: after it all others are used first. On an error the connection is closed, the
  // descriptor is still the listener's, and on_disconnected does not follow.
  std::function<Result<void>(int descriptor, runtime::Peer peer)> on_connected;
  // Once for each, when either side has closed it.
  std::function<void(int descriptor)> on_disconnected;
};

class Listener {
 public:
  // Listens from now on; accepts while `io` runs, which outlives this. kResource when the system
  // refuses.
  static Result<std::unique_ptr<Listener>> Open(BoundSocket socket, boost::asio::io_context& io,
                                                ListenerEvents events);
  // Ends a connection, as if its client had closed it; on_disconnected follows. Nothing when it has
  // gone. On the thread that runs `io`, as HasUnread().
  void ShutDown(int descriptor);
  // Are there bytes of the client that nobody has read yet?
  bool HasUnread(int descriptor) const;

  // Removes the socket. Connections stay as they are.
  void StopAccepting();
  // As StopAccepting(), and nothing is told any more; `io` does not run.
  ~Listener();

 private:
  struct State;
  explicit Listener(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace nrtd::service
