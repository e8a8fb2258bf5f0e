// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>

#include <sys/resource.h>
#include <unistd.h>

#include "base/control_groups.h"
#include "runtime/ledger/limits.h"

namespace nrtd::runtime {
namespace {

uint64_t ReadLimit(const std::string& path) {
  return ReadGroupNumber(path).value_or(kUnlimited);
}

// The smallest limit of this process's groups.
uint64_t GroupLimit(const char* controller, const char* file_v1, const char* file_v2) {
  uint64_t smallest = kUnlimited;
  VisitControlGroups(controller, [&](const std::string& folder) {
    for (const char* file : {file_v1, file_v2})
      smallest = std::min(smallest, ReadLimit(fmt::format("{}/{}", folder, file)));
  });
  return smallest;
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
