// SPDX-License-Identifier: Apache-2.0
//
// The files of control groups, version 1 and 2, as a process sees them inside a container (its own
// group is mounted at the root) and outside (its group is a folder below).
#include <algorithm>
#include <string>

#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"
#include "runtime/ledger/limits.h"

namespace nrtd::runtime {
namespace {

constexpr const char* kRoot = "/sys/fs/cgroup";

// A number in a file; unlimited for "max", for no number, and where there is no such file.
uint64_t ReadLimit(const std::string& path) {
  const auto text = ReadTextFile(path);
  if (!text || text->empty() || (*text)[0] < '0' || (*text)[0] > '9') return kUnlimited;
  return std::strtoull(text->c_str(), nullptr, 10);
}

// The path of this process in one hierarchy: of `controller`, or the unified one for "".
std::string GroupPath(std::string_view controller) {
  const auto text = ReadTextFile("/proc/self/cgroup");
  if (!text) return "";
  std::string_view rest = *text;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string controllers = fmt::format(",{},", line.substr(first + 1, second - first - 1));
    if (controllers.find(fmt::format(",{},", controller)) != std::string::npos)
      return std::string(line.substr(second + 1));
  }
  return "";
}

// The smallest limit on the way from the group to the root of its hierarchy.
uint64_t SmallestOnTheWay(const std::string& mount, std::string path, const std::string& file) {
  uint64_t smallest = kUnlimited;
  while (true) {
    smallest = std::min(smallest, ReadLimit(mount + path + "/" + file));
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) return smallest;
    path.erase(slash);
  }
}

uint64_t GroupLimit(const char* controller, const char* file_v1, const char* file_v2) {
  const std::string root = kRoot;
  const uint64_t unified = SmallestOnTheWay(root, GroupPath(""), file_v2);
  const uint64_t old = SmallestOnTheWay(root + "/" + controller, GroupPath(controller), file_v1);
  return std::min(unified, old);
}

}  // namespace

SystemRoom ReadSystemRoom() {
  SystemRoom room;
  const auto pages = static_cast<uint64_t>(std::max(0L, ::sysconf(_SC_PHYS_PAGES)));
  const auto page = static_cast<uint64_t>(std::max(0L, ::sysconf(_SC_PAGESIZE)));
  room.memory_bytes =
      std::min(pages * page, GroupLimit("memory", "memory.limit_in_bytes", "memory.max"));
  room.threads = std::min(GroupLimit("pids", "pids.max", "pids.max"),
                          ReadLimit("/proc/sys/kernel/threads-max"));
  room.map_entries = ReadLimit("/proc/sys/vm/max_map_count");
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) room.descriptors = files.rlim_cur;
  return room;
}

}  // namespace nrtd::runtime
