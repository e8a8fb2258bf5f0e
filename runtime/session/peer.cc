// SPDX-License-Identifier: Apache-2.0
#include "runtime/session/peer.h"

#include <cerrno>
#include <charconv>

#include <sys/socket.h>
#include <sys/stat.h>

#include "base/file.h"

namespace nrtd::runtime {
namespace {

// proc(5): behind the name in brackets, which is field 2, "starttime" is the 20th.
constexpr int kFieldsBehindName = 20;

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

Result<Peer> ReadPeer(int descriptor) {
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  if (::getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
    return Fail(Nerr::kFail, "SO_PEERCRED: {}", ErrnoText(errno));
  Peer peer;
  peer.pid = credentials.pid;
  peer.uid = credentials.uid;
  peer.gid = credentials.gid;
  if (peer.pid == 0) return peer;
  const std::string folder = fmt::format("/proc/{}/", peer.pid);
  if (const auto cgroup = ReadTextFile(folder + "cgroup")) peer.cgroup = CgroupOf(*cgroup);
  // The pid is from when it connected; the process may be another by now.
  struct stat owner {};
  const bool same = ::stat(folder.c_str(), &owner) == 0 && owner.st_uid == peer.uid;
  const auto stat = ReadTextFile(folder + "stat");
  if (same && stat) peer.start_ticks = StartTicksOf(*stat);
  return peer;
}

}  // namespace nrtd::runtime
