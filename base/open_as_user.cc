// SPDX-License-Identifier: Apache-2.0
#include "base/open_as_user.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <vector>

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

namespace nrtd {
namespace {

constexpr int kMaxLinks = 40;  // MAXSYMLINKS of the kernel
constexpr const char* kAclName = "system.posix_acl_access";
constexpr size_t kMaxAclBytes = 8 * 1024;  // 1,023 entries; a longer list allows nothing

// File systems through which the kernel shows itself: what stands there is no client's file, and to
// open or to read it can do things.
constexpr std::array<uint32_t, 8> kKernelFilesystems = {
    PROC_SUPER_MAGIC, SYSFS_MAGIC,        DEBUGFS_MAGIC,       TRACEFS_MAGIC,
    SECURITYFS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, BPF_FS_MAGIC};

// Something on the way, without having opened it (O_PATH).
struct Node {
  UniqueFd fd;
  struct stat info {};
  bool IsFolder() const { return S_ISDIR(info.st_mode); }
  bool IsLink() const { return S_ISLNK(info.st_mode); }
};

std::string PathOf(const UniqueFd& fd) {
  return fmt::format("/proc/self/fd/{}", fd.get());
}

bool IsExhausted(int error_number) {
  return error_number == EMFILE || error_number == ENFILE || error_number == ENOMEM;
}

// Of those that clients may not look at. Unknown: it is one.
bool IsOfKernel(const UniqueFd& fd) {
  struct statfs filesystem {};
  if (::fstatfs(fd.get(), &filesystem) != 0) return true;
  // The field is signed on some machines, the magic numbers are 32 bits.
  return std::any_of(kKernelFilesystems.begin(), kKernelFilesystems.end(), [&](uint32_t magic) {
    return magic == static_cast<uint32_t>(filesystem.f_type);
  });
}

bool MayAccessNode(const Node& node, const FileUser& user, mode_t wanted) {
  if (user.IsRoot()) return true;
  std::array<std::byte, kMaxAclBytes> acl;
  const ssize_t size = ::getxattr(PathOf(node.fd).c_str(), kAclName, acl.data(), acl.size());
  if (size < 0 && errno != ENODATA && errno != EOPNOTSUPP) return false;
  return MayAccess(user, node.info, {acl.data(), static_cast<size_t>(std::max<ssize_t>(size, 0))},
                   wanted);
}

// One errand from the root to a file.
class Walk {
 public:
  Walk(FileAccess access, const FileUser& user, LastLink last_link)
      : access_(access), user_(user), last_link_(last_link) {}

  Result<OpenedFile> Open(const std::string& path) {
    Push(path);
    NRTD_TRY(ToRoot());
    while (!names_.empty()) {
      const std::string name = std::move(names_.back());
      names_.pop_back();
      NRTD_TRY(Step(name));
    }
    return OpenHere();
  }

 private:
  tl::unexpected<Error> Refuse(int error_number = 0) const {
    if (IsExhausted(error_number)) return Fail(Nerr::kResource, "{}", ErrnoText(error_number));
    return Fail(Nerr::kInvalid, "it does not exist, or {} or the daemon may not read{} it",
                user_.Text(), access_ == FileAccess::kReadWrite ? " and write" : "");
  }

  // The names of a path, to be walked before those that are left.
  void Push(std::string_view path) {
    // What a path with a slash at its end names must be a folder.
    if (path.ends_with('/')) names_.emplace_back(".");
    for (size_t end = path.size(); end > 0;) {
      const size_t slash = path.rfind('/', end - 1);
      const size_t begin = slash == std::string_view::npos ? 0 : slash + 1;
      if (begin < end) names_.emplace_back(path.substr(begin, end - begin));
      end = slash == std::string_view::npos ? 0 : slash;
    }
  }

  Result<void> ToRoot() { return Take(UniqueFd(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC))); }

  Result<void> Take(UniqueFd fd) {
    if (!fd) return Refuse(errno);
    Node node;
    node.fd = std::move(fd);
    if (::fstat(node.fd.get(), &node.info) != 0 || IsOfKernel(node.fd)) return Refuse();
    here_ = std::move(node);
    return {};
  }

  // From the folder that we are in to what has this name there.
  Result<void> Step(const std::string& name) {
    if (!here_.IsFolder() || !MayAccessNode(here_, user_, kMaySearch)) return Refuse();
    if (name == ".") return {};
    const int folder = here_.fd.get();
    constexpr int kFlags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
    UniqueFd next;
    // As a folder first, because only so the system mounts what is mounted on demand.
    if (!names_.empty()) next = UniqueFd(::openat(folder, name.c_str(), kFlags | O_DIRECTORY));
    if (!next) next = UniqueFd(::openat(folder, name.c_str(), kFlags));
    const struct stat folder_info = here_.info;
    // Where a link leads is seen from its folder.
    const UniqueFd kept = std::move(here_.fd);
    NRTD_TRY(Take(std::move(next)));
    return here_.IsLink() ? Follow(kept, folder_info) : Result<void>();
  }

  Result<void> Follow(const UniqueFd& folder, const struct stat& folder_info) {
    constexpr mode_t kShared = S_ISVTX | S_IWOTH;
    const bool is_trusted = (folder_info.st_mode & kShared) != kShared ||
                            here_.info.st_uid == folder_info.st_uid ||
                            (user_.is_known && here_.info.st_uid == user_.uid);
    if (!is_trusted || ++links_ > kMaxLinks) return Refuse();
    if (names_.empty() && last_link_ == LastLink::kRefuse) return Refuse();
    std::array<char, PATH_MAX> target{};
    const ssize_t size = ::readlinkat(here_.fd.get(), "", target.data(), target.size());
    if (size <= 0 || size == PATH_MAX) return Refuse();
    const std::string_view path(target.data(), static_cast<size_t>(size));
    Push(path);
    if (path.starts_with('/')) return ToRoot();
    return Take(UniqueFd(::fcntl(folder.get(), F_DUPFD_CLOEXEC, 0)));
  }

  Result<OpenedFile> OpenHere() {
    const bool writes = access_ == FileAccess::kReadWrite;
    if (!MayAccessNode(here_, user_, kMayRead | (writes ? kMayWrite : 0))) return Refuse();
    if (!S_ISREG(here_.info.st_mode))
      return Fail(Nerr::kInvalid, "it is {}", here_.IsFolder() ? "a folder" : "no regular file");
    // Through its descriptor, so that it is what was judged. O_NONBLOCK: not to wait for the end of
    // a lease.
    OpenedFile file;
    file.fd = UniqueFd(
        ::open(PathOf(here_.fd).c_str(), (writes ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_CLOEXEC));
    if (!file.fd) {
      if (errno == EWOULDBLOCK) return Fail(Nerr::kInvalid, "a process holds a lease on it");
      if (errno == EACCES || errno == EPERM || errno == ENOENT || IsExhausted(errno))
        return Refuse(errno);
      return Fail(Nerr::kInvalid, "{}", ErrnoText(errno));
    }
    if (::fstat(file.fd.get(), &file.info) != 0) return Refuse();
    return file;
  }

  const FileAccess access_;
  const FileUser& user_;
  const LastLink last_link_;
  std::vector<std::string> names_;  // still to be walked, the next one last
  Node here_;
  int links_ = 0;
};

}  // namespace

Result<void> CheckNoNul(std::string_view path) {
  const size_t at = path.find('\0');
  if (at == std::string_view::npos) return {};
  return Fail(Nerr::kInvalid, "byte {} of the path is NUL, which no path can have", at);
}

Result<void> CheckClientPath(std::string_view path) {
  NRTD_TRY(CheckNoNul(path));
  if (path.size() >= PATH_MAX)
    return Fail(Nerr::kInvalid, "the path has {} bytes, at most {} are possible", path.size(),
                PATH_MAX - 1);
  if (!path.starts_with('/')) return Fail(Nerr::kInvalid, "the path is not absolute");
  return {};
}

Result<OpenedFile> OpenAsUser(const std::string& path, FileAccess access, const FileUser& user,
                              LastLink last_link) {
  NRTD_TRY(CheckClientPath(path));
  return Walk(access, user, last_link).Open(path);
}

}  // namespace nrtd
