// SPDX-License-Identifier: Apache-2.0
#include "base/usable_cpus.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <sstream>
#include <string>

#include <sched.h>

#include "base/control_groups.h"
#include "base/file.h"

namespace nrtd {
namespace {

// CPUs' worth of time that one group gives, rounded up; nothing without a quota.
std::optional<uint64_t> QuotaOf(const std::string& folder) {
  std::optional<uint64_t> quota;
  std::optional<uint64_t> period;
  if (const auto text = ReadTextFile(folder + "/cpu.max")) {  // "150000 100000", "max 100000"
    std::istringstream numbers(*text);
    uint64_t first = 0;
    uint64_t second = 0;
    if (numbers >> first >> second) {
      quota = first;
      period = second;
    }
  } else {
    quota = ReadGroupNumber(folder + "/cpu.cfs_quota_us");
    period = ReadGroupNumber(folder + "/cpu.cfs_period_us");
  }
  if (quota.value_or(0) == 0 || period.value_or(0) == 0) return std::nullopt;
  return (*quota - 1) / *period + 1;
}

}  // namespace

unsigned UsableCpus() {
  uint64_t cpus = 1;
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof(allowed), &allowed) == 0)
    cpus = static_cast<uint64_t>(std::max(CPU_COUNT(&allowed), 1));
  VisitControlGroups("cpu", [&](const std::string& folder) {
    cpus = std::min(cpus, QuotaOf(folder).value_or(cpus));
  });
  return static_cast<unsigned>(cpus);
}

}  // namespace nrtd
