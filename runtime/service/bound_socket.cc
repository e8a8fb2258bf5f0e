// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/bound_socket.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

namespace nrtd::service {
namespace {

constexpr unsigned kNoReplace = 1;  // RENAME_NOREPLACE
constexpr const char* kName = "s";  // of what is in a private folder
constexpr int kLook = O_PATH | O_NOFOLLOW | O_CLOEXEC;

std::string NameOf(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}
std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}
std::string PathOf(const UniqueFd& fd) {
  return fmt::format("/proc/self/fd/{}", fd.get());
}

Result<sockaddr_un> SocketName(const std::string& path) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(name.sun_path)) {
    return Fail(Nerr::kInvalid, "socket path '{}' has {} bytes, 1 to {} are possible", path,
                path.size(), sizeof(name.sun_path) - 1);
  }
  std::memcpy(name.sun_path, path.c_str(), path.size() + 1);
  return name;
}

const sockaddr* AsAddress(const sockaddr_un& name) {
  return reinterpret_cast<const sockaddr*>(&name);
}

// Moves a name from one folder to another. False with errno; EEXIST when it is taken there.
bool MoveTo(const UniqueFd& to, const std::string& to_name, const UniqueFd& from,
            const std::string& from_name) {
  if (::syscall(SYS_renameat2, from.get(), from_name.c_str(), to.get(), to_name.c_str(),
                kNoReplace) == 0)
    return true;
  if (errno != EINVAL && errno != ENOSYS) return false;
  // A file system that cannot rename so: a second name, then the first one goes.
  return ::linkat(from.get(), from_name.c_str(), to.get(), to_name.c_str(), 0) == 0 &&
         ::unlinkat(from.get(), from_name.c_str(), 0) == 0;
}

// Something that was looked at, without having been opened.
struct Seen {
  UniqueFd fd;
  struct stat info {};
  explicit operator bool() const { return static_cast<bool>(fd); }
  SocketInode inode() const { return {info.st_dev, info.st_ino}; }
};

Seen Look(const UniqueFd& folder, const std::string& name) {
  Seen seen;
  seen.fd = UniqueFd(::openat(folder.get(), name.c_str(), kLook));
  if (seen.fd && ::fstat(seen.fd.get(), &seen.info) != 0) seen.fd = UniqueFd();
  return seen;
}

// A folder of ours alone, inside another one; goes in the end if it is empty.
class PrivateFolder {
 public:
  // kInvalid with errno's text.
  static Result<PrivateFolder> Create(const UniqueFd& parent) {
    uint64_t number = 0;
    if (::getrandom(&number, sizeof(number), 0) != sizeof(number))
      return Fail(Nerr::kInvalid, "getrandom: {}", ErrnoText(errno));
    PrivateFolder made(parent, fmt::format(".neuron-rtd-{:016x}", number));
    if (::mkdirat(parent.get(), made.name_.c_str(), 0700) != 0)
      return Fail(Nerr::kInvalid, "{}", ErrnoText(errno));
    made.fd_ = UniqueFd(::openat(parent.get(), made.name_.c_str(), kLook | O_DIRECTORY));
    struct stat info {};
    if (!made.fd_ || ::fstat(made.fd_.get(), &info) != 0)
      return Fail(Nerr::kInvalid, "its folder was taken away: {}", ErrnoText(errno));
    // Another one in its place would not be ours alone.
    if (info.st_uid != ::geteuid() || (info.st_mode & 0077) != 0)
      return Fail(Nerr::kInvalid, "another process replaced a file in its folder");
    return made;
  }
  PrivateFolder(PrivateFolder&& other) noexcept
      : parent_(other.parent_), name_(std::exchange(other.name_, {})), fd_(std::move(other.fd_)) {}
  PrivateFolder& operator=(PrivateFolder&&) = delete;
  ~PrivateFolder() {
    if (!name_.empty()) ::unlinkat(parent_->get(), name_.c_str(), AT_REMOVEDIR);
  }
  const UniqueFd& fd() const { return fd_; }

 private:
  PrivateFolder(const UniqueFd& parent, std::string name)
      : parent_(&parent), name_(std::move(name)) {}
  const UniqueFd* parent_;
  std::string name_;
  UniqueFd fd_;
};

// Removes `name` if it is still this inode. What has come into its place meanwhile is put back.
Result<void> Remove(const UniqueFd& folder, const std::string& name, SocketInode inode) {
  NRTD_ASSIGN(const PrivateFolder aside, PrivateFolder::Create(folder));
  if (!MoveTo(aside.fd(), kName, folder, name)) {
    if (errno == ENOENT) return {};
    return Fail(Nerr::kInvalid, "{}", ErrnoText(errno));
  }
  if (Look(aside.fd(), kName).inode() == inode) {
    ::unlinkat(aside.fd().get(), kName, 0);
    return {};
  }
  (void)MoveTo(folder, name, aside.fd(), kName);
  return Fail(Nerr::kInvalid, "another process replaced it");
}

// Clears away what an earlier daemon left behind, and only that.
Result<void> ClearPlace(const UniqueFd& folder, const std::string& path) {
  const std::string name = NameOf(path);
  const Seen old = Look(folder, name);
  if (!old) return {};
  if (!S_ISSOCK(old.info.st_mode)) {
    return Fail(Nerr::kInvalid,
                "cannot listen on unix:{}: it exists and is no socket; remove it or choose another",
                path);
  }
  // By its descriptor: the name may be a link to another daemon's socket by now.
  NRTD_ASSIGN(const sockaddr_un address, SocketName(PathOf(old.fd)));
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (::connect(probe.get(), AsAddress(address), sizeof(address)) == 0 || errno == EAGAIN) {
    return Fail(Nerr::kInvalid,
                "somebody listens on {} already: stop it, or choose another address with -g", path);
  }
  // A socket that nobody listens on. Whatever else keeps us from connecting, it may be in use.
  if (errno != ECONNREFUSED) {
    return Fail(Nerr::kInvalid,
                "cannot listen on unix:{}: a socket is there, and {}; remove it or "
                "choose another address with -g",
                path, ErrnoText(errno));
  }
  auto removed = Remove(folder, name, old.inode());
  if (removed) return {};
  return tl::unexpected<Error>(
      std::move(removed.error()).In(fmt::format("cannot remove the old socket {}", path)));
}

struct NewSocket {
  UniqueFd socket;
  SocketInode inode;
};

// A socket in a private folder, with its rights.
Result<NewSocket> Make(const UniqueFd& folder, const SocketOptions& options) {
  const auto failed = [](const char* what) {
    return Fail(Nerr::kInvalid, "cannot {}: {}", what, ErrnoText(errno));
  };
  NRTD_ASSIGN(const sockaddr_un address, SocketName(PathOf(folder) + "/" + kName));
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket || ::fchmod(socket.get(), 0) != 0) return failed("make a socket");
  if (::bind(socket.get(), AsAddress(address), sizeof(address)) != 0) return failed("bind");
  const Seen made = Look(folder, kName);
  if (!made || !S_ISSOCK(made.info.st_mode)) return failed("find the socket");
  if (options.group &&
      ::fchownat(made.fd.get(), "", static_cast<uid_t>(-1), *options.group, AT_EMPTY_PATH) != 0)
    return failed("change its group");
  if (::chmod(PathOf(made.fd).c_str(), options.mode) != 0) return failed("change its mode");
  return NewSocket{std::move(socket), made.inode()};
}

}  // namespace

Result<BoundSocket> BoundSocket::Bind(const SocketOptions& options) {
  NRTD_TRY(SocketName(options.path));
  const std::string name = NameOf(options.path);
  const auto failed = [&](const std::string& why) {
    return Fail(Nerr::kInvalid, "cannot listen on unix:{}: {}; choose another address with -g",
                options.path, why);
  };
  if (name.empty() || name == "." || name == "..") return failed("it names a folder");
  UniqueFd folder(::open(FolderOf(options.path).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return failed(ErrnoText(errno));
  NRTD_TRY(ClearPlace(folder, options.path));
  auto birthplace = PrivateFolder::Create(folder);
  if (!birthplace) return failed(birthplace.error().text);
  auto made = Make(birthplace->fd(), options);
  const bool placed = made && MoveTo(folder, name, birthplace->fd(), kName);
  const int error_number = errno;
  if (!placed) ::unlinkat(birthplace->fd().get(), kName, 0);
  if (!made) return failed(made.error().text);
  if (!placed) return failed(ErrnoText(error_number));
  { const PrivateFolder gone = std::move(*birthplace); }
  return BoundSocket(std::move(made->socket), std::move(folder), options.path, made->inode);
}

BoundSocket::~BoundSocket() {
  if (path_.empty()) return;
  // It may be another daemon's by now.
  const std::string name = NameOf(path_);
  if (Look(folder_, name).inode() == inode_) (void)Remove(folder_, name, inode_);
}

}  // namespace nrtd::service
