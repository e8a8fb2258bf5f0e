// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/error.h"

namespace nrtd::bench {

struct IdleProcess {
  double rss_mib = 0;  // VmRSS of /proc/PID/status, which leaves huge pages out
  double cpu_ms = 0;   // of all threads, during one second, in steps of 10 ms
};

// VmRSS now. kInvalid when there is no such process.
Result<double> ResidentMib(int pid);

// Watches a process for one second. kInvalid when there is none.
Result<IdleProcess> WatchIdle(int pid);

}  // namespace nrtd::bench
