// SPDX-License-Identifier: Apache-2.0
//
// The daemon's unix socket. gRPC could listen on it by itself, but does not tell who connects, nor
// when somebody goes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <sys/types.h>

#include "base/error.h"
#include "base/unique_fd.h"
#include "runtime/session/client.h"

namespace nrtd::service {

struct SocketOptions {
  std::string path;
  // Everybody may connect, as to neuron-rtd 1.x, whose clients ran as ordinary users.
  mode_t mode = 0666;
  std::optional<gid_t> group;  // otherwise the daemon's
};

// All calls come on the thread that runs the io_context.
struct ListenerEvents {
  // `descriptor`, non-blocking and now the callee's, is a number that no connection had for as long
  // as possible: after it all others are used first. On an error the connection is closed, the
  // descriptor is still the listener's, and on_disconnected does not follow.
  std::function<Result<void>(int descriptor, runtime::Peer peer)> on_connected;
  // Once for each, when either side has closed it.
  std::function<void(int descriptor)> on_disconnected;
};

// A socket that has its place and its rights, but does not listen yet. Move-only; removes the
// socket in the end.
class BoundSocket {
 public:
  // May take privileges (the group). A socket file that nobody answers on is replaced. kInvalid
  // with the reason when that cannot be: the path is too long, taken by another daemon or by what
  // is no socket, or its folder is missing.
  static Result<BoundSocket> Bind(const SocketOptions& options);
  BoundSocket(BoundSocket&& other) noexcept
      : socket_(std::move(other.socket_)),
        path_(std::exchange(other.path_, {})),
        inode_(other.inode_) {}
  BoundSocket& operator=(BoundSocket&&) = delete;
  ~BoundSocket();

  const std::string& path() const { return path_; }

 private:
  friend class Listener;
  BoundSocket(UniqueFd socket, std::string path, ino_t inode)
      : socket_(std::move(socket)), path_(std::move(path)), inode_(inode) {}
  UniqueFd socket_;
  std::string path_;
  ino_t inode_;
};

class Listener {
 public:
  // Listens from now on; accepts while `io` runs, which outlives this. kResource when the system
  // refuses.
  static Result<std::unique_ptr<Listener>> Open(BoundSocket socket, boost::asio::io_context& io,
                                                ListenerEvents events);
  // Removes the socket. Connections stay as they are; `io` does not run.
  ~Listener();

 private:
  struct State;
  explicit Listener(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace nrtd::service
