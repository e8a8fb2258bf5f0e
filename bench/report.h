// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "bench/reload.h"

namespace nrtd::bench {

// What one run measured. Times are microseconds.
struct Measurements {
  double infer_p50_us = 0;  // one client, the daemon
  double infer_p99_us = 0;
  double echo_p50_us = 0;  // one client, the echo server
  double echo_p99_us = 0;
  double core_busy_us = 0;  // of all cores, for one inference
  double infer_per_s = 0;   // several clients, the daemon
  double echo_per_s = 0;    // several clients, the echo server
  size_t infer_samples = 0;
  size_t echo_samples = 0;
  uint64_t queue_full = 0;      // inferences that were refused for want of a slot and sent again
  double post_wait_p50_us = 0;  // one client, infer_post and infer_wait together
  double post_wait_echo_p50_us = 0;  // the echo, meanwhile
  double many_infer_per_s = 0;       // 64 clients, the daemon
  double many_echo_per_s = 0;        // 64 clients, the echo server
  uint64_t many_queue_full = 0;
  // What was not measured has no line.
  std::optional<double> images_echo_p50_us;    // three large inputs, a bare echo
  std::optional<double> images_inline_p50_us;  // the same inputs, in the message
  std::optional<double> images_shm_p50_us;     // the same by shared memory
  double images_inline_busy_us = 0;            // of the cores, for one inference
  double images_shm_busy_us = 0;
  std::optional<ReloadTimes> reload_by_path;  // of a network with many weights
  std::optional<ReloadTimes> reload_by_upload;
  std::optional<double> start_ms;      // from its start to "Server listening"
  std::optional<double> pool_ms;       // from its start until all huge pages were faulted in
  std::optional<double> idle_rss_mib;  // resident, huge pages not counted
  std::optional<double> idle_cpu_ms;   // in one second without calls
};

enum class Bound { kNone, kAtMost, kAtLeast };

struct Metric {
  std::string name;
  double value = 0;
  int digits = 1;  // behind the point, for people
  Bound bound = Bound::kNone;
  double limit = 0;

  bool Holds() const;
};

// What the runtime may cost beside a bare echo of the same messages: once the core's own time is
// taken off, a quarter of an echo more; and of its throughput, 30 percent.
inline constexpr double kNetRatioLimit = 1.25;
inline constexpr double kThroughputRatioLimit = 0.7;
inline constexpr double kPostWaitRatioLimit = 2.4;  // two calls
inline constexpr double kManyRatioLimit = 0.8;      // 64 clients in flight
// Three inputs of 602,112 bytes, less the core's own time, against an echo of the same bytes.
inline constexpr double kLargeInlineRatioLimit = 1.3;
inline constexpr double kLargeSharedRatioLimit = 0.4;
inline constexpr double kReloadLimit = 10;  // a second load of the same NEFF, times faster
// The daemon by itself. The kernel counts CPU time in steps of 10 ms; one step in a second is not
// told from none.
inline constexpr double kStartLimitMs = 300;
inline constexpr double kIdleRssLimitMib = 40;
inline constexpr double kIdleCpuLimitMs = 10;

// With the ratios: net_ratio = (infer_p50 - core_busy) / echo_p50, throughput_ratio = infer / echo.
std::vector<Metric> MetricsOf(const Measurements& measurements);

bool AllHold(const std::vector<Metric>& metrics);
std::string ReportText(const std::vector<Metric>& metrics);
nlohmann::json ReportJson(const std::vector<Metric>& metrics);

}  // namespace nrtd::bench
