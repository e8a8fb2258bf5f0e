// SPDX-License-Identifier: Apache-2.0
//
// A unix socket in its place, in a folder in which others may create, rename and remove as they
// like (as clients may in a pod's shared volume).
//
// Nothing here follows a name of that folder: what is there is looked at by descriptor. The socket
// is made in a private folder inside of it, gets its mode and group there by its descriptor, and is
// then renamed into place, so that it is never there with other rights. A socket that is in the way
// is moved into such a folder, too, before it is removed, and moved back if it is not what was
// looked at. A client that removes or replaces the socket while the daemon runs keeps new clients
// from finding it; those that are connected notice nothing, and no file is changed.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include <sys/types.h>

#include "base/error.h"
#include "base/unique_fd.h"

namespace nrtd::service {

struct SocketOptions {
  std::string path;
  // Everybody may connect, as to neuron-rtd 1.x, whose clients ran as ordinary users.
  mode_t mode = 0666;
  std::optional<gid_t> group;  // otherwise the daemon's
};

// Which file; 0 for none.
struct SocketInode {
  dev_t device = 0;
  ino_t number = 0;
  bool operator==(const SocketInode&) const = default;
};

// A socket that has its place and its rights, but does not listen yet. Move-only; removes the
// socket in the end, unless another one has its place.
class BoundSocket {
 public:
  // May take privileges (the group). A socket file that nobody answers on is replaced. kInvalid
  // with the reason when that cannot be: the path is too long, taken by another daemon or by what
  // is no socket, or its folder is missing. The path of the folder itself is the operator's and is
  // followed once.
  static Result<BoundSocket> Bind(const SocketOptions& options);
  BoundSocket(BoundSocket&& other) noexcept
      : socket_(std::move(other.socket_)),
        folder_(std::move(other.folder_)),
        path_(std::exchange(other.path_, {})),
        inode_(other.inode_) {}
  BoundSocket& operator=(BoundSocket&&) = delete;
  ~BoundSocket();

  const std::string& path() const { return path_; }
  // The socket itself, for listen(); no longer this object's.
  UniqueFd TakeSocket() { return std::move(socket_); }
  int descriptor() const { return socket_.get(); }

 private:
  BoundSocket(UniqueFd socket, UniqueFd folder, std::string path, SocketInode inode)
      : socket_(std::move(socket)),
        folder_(std::move(folder)),
        path_(std::move(path)),
        inode_(inode) {}
  UniqueFd socket_;
  UniqueFd folder_;
  std::string path_;
  SocketInode inode_;
};

}  // namespace nrtd::service
