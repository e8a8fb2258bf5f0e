// SPDX-License-Identifier: Apache-2.0
#include "runtime/session/peer.h"

#include <cerrno>
#include <charconv>
#include <memory>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/file.h"

namespace nrtd::runtime {
namespace {

// proc(5): behind the name in brackets, which is field 2, "starttime" is the 20th.
constexpr int kFieldsBehindName = 20;

// Kubernetes' paths take some 200.
constexpr size_t kMaxCgroupBytes = 1024;

// Newer than the headers of Debian 12.
constexpr int kSoPeerPidfd = 77;          // asm-generic/socket.h
constexpr long kPidfsMagic = 0x50494446;  // linux/magic.h, PID_FS_MAGIC

struct ProcStatus {
  std::string cgroup;
  uint64_t start_ticks = 0;
  uid_t owner = static_cast<uid_t>(-1);
};

uint64_t ReadStart(const std::string& folder) {
  const auto stat = ReadTextFile(folder + "stat");
  return stat ? StartTicksOf(*stat) : 0;
}

// Of whatever process has the pid now. The start is 0 if it may not be one process throughout.
ProcStatus ReadProc(pid_t pid) {
  const std::string folder = fmt::format("/proc/{}/", pid);
  ProcStatus status;
  const uint64_t start = ReadStart(folder);
  if (const auto cgroup = ReadTextFile(folder + "cgroup"))
    status.cgroup = PrintableText(CgroupOf(*cgroup), kMaxCgroupBytes);
  struct stat info {};
  if (::stat(folder.c_str(), &info) == 0) status.owner = info.st_uid;
  if (ReadStart(folder) == start) status.start_ticks = start;
  return status;
}

bool HasEnded(const UniqueFd& pidfd) {
  pollfd entry{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
  return ::poll(&entry, 1, 0) != 0;
}

Result<std::vector<gid_t>> ReadGroups(int descriptor) {
  std::vector<gid_t> groups(kMaxPeerGroups);
  auto size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
  if (::getsockopt(descriptor, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) != 0) {
    if (errno == ERANGE) {
      return Fail(Nerr::kResource, "its process is in {} supplementary groups, more than {}",
                  size / sizeof(gid_t), kMaxPeerGroups);
    }
    return Fail(Nerr::kFail, "SO_PEERGROUPS: {}", ErrnoText(errno));
  }
  groups.resize(size / sizeof(gid_t));
  groups.shrink_to_fit();
  return groups;
}

struct Pidfd {
  std::shared_ptr<const UniqueFd> descriptor;  // null: none
  bool supported = false;                      // if there is none, the process has ended
  uint64_t inode = 0;                          // in pidfs
};

Result<Pidfd> OpenPidfd(int descriptor, PidfdSupport support) {
  Pidfd pidfd;
  if (support == PidfdSupport::kNone) return pidfd;
  int number = -1;
  socklen_t size = sizeof(number);
  if (::getsockopt(descriptor, SOL_SOCKET, kSoPeerPidfd, &number, &size) != 0) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
      return Fail(Nerr::kResource, "SO_PEERPIDFD: {}", ErrnoText(errno));
    // Before Linux 6.16 there is none of a process that has been waited for.
    pidfd.supported = errno != ENOPROTOOPT;
    return pidfd;
  }
  pidfd.supported = true;
  pidfd.descriptor = std::make_shared<const UniqueFd>(number);
  struct statfs filesystem {};
  struct stat info {};
  if (support == PidfdSupport::kPidfs && ::fstatfs(number, &filesystem) == 0 &&
      filesystem.f_type == kPidfsMagic && ::fstat(number, &info) == 0)
    pidfd.inode = info.st_ino;
  return pidfd;
}

}  // namespace

std::string CgroupOf(std::string_view file) {
  std::string first;
  while (!file.empty()) {
    const std::string_view line = file.substr(0, file.find('\n'));
    file.remove_prefix(std::min(file.size(), line.size() + 1));
    // "hierarchy:controllers:path"; the unified hierarchy is number 0 and names no controllers.
    const size_t second_colon = line.find(':', line.find(':') + 1);
    if (second_colon == std::string_view::npos) continue;
    const std::string path(line.substr(second_colon + 1));
    if (line.starts_with("0::")) return path;
    if (first.empty()) first = path;
  }
  return first;
}

uint64_t StartTicksOf(std::string_view file) {
  const size_t name_end = file.rfind(')');
  if (name_end == std::string_view::npos) return 0;
  std::string_view rest = file.substr(name_end + 1);
  for (int field = 0; field < kFieldsBehindName; ++field) {
    const size_t begin = rest.find_first_not_of(' ');
    if (begin == std::string_view::npos) return 0;
    rest.remove_prefix(begin);
    if (field + 1 == kFieldsBehindName) break;
    rest.remove_prefix(std::min(rest.size(), rest.find(' ')));
  }
  uint64_t ticks = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), ticks);
  return error == std::errc() ? ticks : 0;
}

Result<Peer> ReadPeer(int descriptor, PidfdSupport support) {
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  if (::getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
    return Fail(Nerr::kFail, "SO_PEERCRED: {}", ErrnoText(errno));
  NRTD_ASSIGN(Pidfd pidfd, OpenPidfd(descriptor, support));
  Peer peer;
  peer.pid = credentials.pid;
  peer.uid = credentials.uid;
  peer.gid = credentials.gid;
  peer.pidfs_inode = pidfd.inode;
  NRTD_ASSIGN(peer.groups, ReadGroups(descriptor));
  if (peer.pid > 0) {
    ProcStatus status = ReadProc(peer.pid);
    const bool certain = pidfd.supported ? pidfd.descriptor && !HasEnded(*pidfd.descriptor)
                                         : status.owner == peer.uid && status.start_ticks != 0;
    if (certain) {
      peer.cgroup = std::move(status.cgroup);
      peer.start_ticks = status.start_ticks;
    }
  }
  peer.pidfd = std::move(pidfd.descriptor);
  return peer;
}

}  // namespace nrtd::runtime
