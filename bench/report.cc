// SPDX-License-Identifier: Apache-2.0
#include "bench/report.h"

#include <algorithm>

#include <fmt/format.h>

#include "tools/client/table.h"

namespace nrtd::bench {
namespace {

double Ratio(double a, double b) {
  return b > 0 ? a / b : 0;
}

std::string BoundText(const Metric& metric) {
  if (metric.bound == Bound::kNone) return "";
  return fmt::format("{} {}", metric.bound == Bound::kAtMost ? "<=" : ">=", metric.limit);
}

}  // namespace

bool Metric::Holds() const {
  switch (bound) {
    case Bound::kNone:
      return true;
    case Bound::kAtMost:
      return value <= limit;
    case Bound::kAtLeast:
      return value >= limit;
  }
  return false;
}

std::vector<Metric> MetricsOf(const Measurements& m) {
  const double net_ratio = Ratio(m.infer_p50_us - m.core_busy_us, m.echo_p50_us);
  const double throughput_ratio = Ratio(m.infer_per_s, m.echo_per_s);
  std::vector<Metric> metrics = {
      {"infer_p50_us", m.infer_p50_us},
      {"infer_p99_us", m.infer_p99_us},
      {"echo_p50_us", m.echo_p50_us},
      {"echo_p99_us", m.echo_p99_us},
      {"core_busy_us", m.core_busy_us},
      {"net_ratio", net_ratio, 3, Bound::kAtMost, kNetRatioLimit},
      {"infer_per_s", m.infer_per_s, 0},
      {"echo_per_s", m.echo_per_s, 0},
      {"throughput_ratio", throughput_ratio, 3, Bound::kAtLeast, kThroughputRatioLimit},
      {"infer_samples", static_cast<double>(m.infer_samples), 0},
      {"echo_samples", static_cast<double>(m.echo_samples), 0},
      {"queue_full", static_cast<double>(m.queue_full), 0},
      {"post_wait_p50_us", m.post_wait_p50_us},
      {"post_wait_ratio", Ratio(m.post_wait_p50_us - m.core_busy_us, m.post_wait_echo_p50_us), 3,
       Bound::kAtMost, kPostWaitRatioLimit},
      {"infer_per_s_64", m.many_infer_per_s, 0},
      {"echo_per_s_64", m.many_echo_per_s, 0},
      {"throughput_ratio_64", Ratio(m.many_infer_per_s, m.many_echo_per_s), 3, Bound::kAtLeast,
       kManyRatioLimit},
      {"queue_full_64", static_cast<double>(m.many_queue_full), 0, Bound::kAtMost, 0},
  };
  if (m.images_echo_p50_us && m.images_inline_p50_us && m.images_shm_p50_us) {
    metrics.push_back({"images_echo_p50_us", *m.images_echo_p50_us});
    metrics.push_back({"images_inline_p50_us", *m.images_inline_p50_us});
    metrics.push_back({"images_shm_p50_us", *m.images_shm_p50_us});
    metrics.push_back(
        {"images_inline_ratio",
         Ratio(*m.images_inline_p50_us - m.images_inline_busy_us, *m.images_echo_p50_us), 3,
         Bound::kAtMost, kLargeInlineRatioLimit});
    metrics.push_back({"images_shm_ratio",
                       Ratio(*m.images_shm_p50_us - m.images_shm_busy_us, *m.images_echo_p50_us), 3,
                       Bound::kAtMost, kLargeSharedRatioLimit});
  }
  if (m.reload_by_path) {
    metrics.push_back({"load_first_ms", m.reload_by_path->first_ms});
    metrics.push_back({"load_again_ms", m.reload_by_path->again_ms});
    metrics.push_back({"load_again_times_faster",
                       Ratio(m.reload_by_path->first_ms, m.reload_by_path->again_ms), 1,
                       Bound::kAtLeast, kReloadLimit});
  }
  // The client sends all of it again, which the daemon cannot spare it.
  if (m.reload_by_upload) {
    metrics.push_back({"upload_first_ms", m.reload_by_upload->first_ms});
    metrics.push_back({"upload_again_ms", m.reload_by_upload->again_ms});
  }
  const auto add = [&](const char* name, const std::optional<double>& value, double limit) {
    if (value) metrics.push_back({name, *value, 1, Bound::kAtMost, limit});
  };
  if (m.pool_ms) metrics.push_back({"pool_ms", *m.pool_ms});
  add("start_ms", m.start_ms, kStartLimitMs);
  add("idle_rss_mib", m.idle_rss_mib, kIdleRssLimitMib);
  add("idle_cpu_ms", m.idle_cpu_ms, kIdleCpuLimitMs);
  return metrics;
}

bool AllHold(const std::vector<Metric>& metrics) {
  return std::all_of(metrics.begin(), metrics.end(), [](const Metric& m) { return m.Holds(); });
}

std::string ReportText(const std::vector<Metric>& metrics) {
  client::Table table({{{"METRIC"}}, {{"VALUE"}, client::Align::kRight}, {{"BOUND"}}, {{"OK?"}}});
  for (const Metric& metric : metrics) {
    const char* verdict = metric.bound == Bound::kNone ? "" : metric.Holds() ? "ok" : "MISSED";
    table.AddRow({metric.name, fmt::format("{:.{}f}", metric.value, metric.digits),
                  BoundText(metric), verdict});
  }
  return table.Framed();
}

nlohmann::json ReportJson(const std::vector<Metric>& metrics) {
  nlohmann::json values;
  nlohmann::json bounds = nlohmann::json::array();
  for (const Metric& metric : metrics) {
    values[metric.name] = metric.value;
    if (metric.bound == Bound::kNone) continue;
    bounds.push_back({{"metric", metric.name},
                      {"relation", metric.bound == Bound::kAtMost ? "<=" : ">="},
                      {"limit", metric.limit},
                      {"value", metric.value},
                      {"ok", metric.Holds()}});
  }
  return {{"metrics", std::move(values)}, {"bounds", std::move(bounds)}, {"ok", AllHold(metrics)}};
}

}  // namespace nrtd::bench
