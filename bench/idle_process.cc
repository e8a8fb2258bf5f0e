// SPDX-License-Identifier: Apache-2.0
#include "bench/idle_process.h"

#include <chrono>
#include <sstream>
#include <thread>

#include <unistd.h>

#include "base/file.h"

namespace nrtd::bench {
namespace {

// Fields 14 and 15 of /proc/PID/stat, proc(5): user and system time in clock ticks.
Result<uint64_t> CpuTicks(int pid) {
  NRTD_ASSIGN(const std::string stat, ReadTextFile(fmt::format("/proc/{}/stat", pid)));
  // The second field is the name in parentheses and may hold anything; the third follows it.
  std::istringstream fields(stat.substr(std::min(stat.rfind(')') + 1, stat.size())));
  std::string skipped;
  for (int field = 3; field < 14; ++field) fields >> skipped;
  uint64_t user = 0;
  uint64_t system = 0;
  fields >> user >> system;
  if (!fields) return Fail(Nerr::kInvalid, "/proc/{}/stat is not as proc(5) says", pid);
  return user + system;
}

}  // namespace

Result<double> ResidentMib(int pid) {
  NRTD_ASSIGN(const std::string status, ReadTextFile(fmt::format("/proc/{}/status", pid)));
  const size_t at = status.find("VmRSS:");
  if (at == std::string::npos) return Fail(Nerr::kInvalid, "/proc/{}/status has no VmRSS", pid);
  return static_cast<double>(std::strtoull(status.c_str() + at + 6, nullptr, 10)) / 1024;
}

Result<IdleProcess> WatchIdle(int pid) {
  IdleProcess idle;
  NRTD_ASSIGN(const uint64_t before, CpuTicks(pid));
  std::this_thread::sleep_for(std::chrono::seconds(1));
  NRTD_ASSIGN(const uint64_t after, CpuTicks(pid));
  idle.cpu_ms =
      static_cast<double>(after - before) * 1000 / static_cast<double>(::sysconf(_SC_CLK_TCK));
  NRTD_ASSIGN(idle.rss_mib, ResidentMib(pid));
  return idle;
}

}  // namespace nrtd::bench
