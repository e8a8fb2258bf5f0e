// SPDX-License-Identifier: Apache-2.0
#include "http/metrics.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

namespace nrtd {
namespace {

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}
bool IsWord(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0;
}

std::string MetricName(std::string_view name) {
  std::string text;
  for (const char c : name) text += IsWord(c) || c == '_' ? c : ':';
  if (!text.empty() && IsDigit(text[0])) text.insert(0, 1, '_');
  return text;
}

std::string LabelName(std::string_view name) {
  std::string text;
  for (const char c : name) text += IsWord(c) ? c : '_';
  if (!text.empty() && IsDigit(text[0])) text.insert(0, 1, '_');
  return text;
}

std::string LabelText(const Labels& labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    if (!text.empty()) text += ',';
    text += LabelName(name) + "=\"";
    for (const char c : value) {
      if (c == '\\' || c == '"') text += '\\';
      // The original leaves line ends as they are, which breaks the page.
      text += c == '\n' ? ' ' : c;
    }
    text += '"';
  }
  return text;
}

}  // namespace

void Metrics::DeclareCounter(const std::string& name) {
  MutexLock lock(mutex_);
  metrics_.try_emplace(name);
}

void Metrics::DeclareHistogram(const std::string& name, const Buckets& buckets) {
  MutexLock lock(mutex_);
  Metric& metric = metrics_[name];
  double limit = buckets.scale;
  for (int i = 0; i < buckets.count; ++i, limit *= buckets.growth) metric.limits.push_back(limit);
}

void Metrics::DeclareGauge(const std::string& name, std::function<Readings()> read) {
  MutexLock lock(mutex_);
  metrics_[name].read = std::move(read);
}

void Metrics::Count(const std::string& name, const Labels& labels, uint64_t by) {
  MutexLock lock(mutex_);
  metrics_[name].counters[labels] += by;
}

void Metrics::Observe(const std::string& name, const Labels& labels, double value) {
  MutexLock lock(mutex_);
  Metric& metric = metrics_[name];
  Histogram& histogram = metric.histograms[labels];
  histogram.counts.resize(metric.limits.size() + 1);
  // A value that is a limit belongs to the bucket above it.
  const auto bucket = std::upper_bound(metric.limits.begin(), metric.limits.end(), value);
  ++histogram.counts[static_cast<size_t>(bucket - metric.limits.begin())];
  histogram.sum += value;
}

void Metrics::Write(const std::string& name, const Metric& metric, std::string* page) {
  for (const auto& [labels, count] : metric.counters)
    *page += fmt::format("{}{{{}}} {}\n", name, LabelText(labels), count);
  for (const auto& [labels, histogram] : metric.histograms) {
    const std::string text = LabelText(labels);
    const std::string comma = text.empty() ? "" : ",";
    uint64_t below = 0;
    for (size_t i = 0; i < histogram.counts.size(); ++i) {
      below += histogram.counts[i];
      const std::string limit =
          i < metric.limits.size() ? fmt::format("{:g}", metric.limits[i]) : "+Inf";
      *page += fmt::format("{}_bucket{{{}{}le=\"{}\"}} {}\n", name, text, comma, limit, below);
    }
    *page += fmt::format("{}_sum{{{}}} {:g}\n", name, text, histogram.sum);
    *page += fmt::format("{}_count{{{}}} {}\n", name, text, below);
  }
}

std::string Metrics::Page() const {
  // Gauges are read without the lock: what they read has locks of its own.
  std::map<std::string, std::function<Readings()>> gauges;
  {
    MutexLock lock(mutex_);
    for (const auto& [name, metric] : metrics_)
      if (metric.read) gauges[name] = metric.read;
  }
  std::map<std::string, Readings> readings;
  for (const auto& [name, read] : gauges) readings[name] = read();
  std::string page;
  MutexLock lock(mutex_);
  for (const auto& [original, metric] : metrics_) {
    const std::string name = MetricName(original);
    const auto gauge = readings.find(original);
    const char* const type = gauge != readings.end() ? "gauge"
                             : metric.limits.empty() ? "counter"
                                                     : "histogram";
    page += fmt::format("# TYPE {} {}\n", name, type);
    if (gauge == readings.end()) {
      Write(name, metric, &page);
      continue;
    }
    for (const auto& [labels, value] : gauge->second)
      page += fmt::format("{}{{{}}} {}\n", name, LabelText(labels), value);
  }
  return page;
}

}  // namespace nrtd
