// SPDX-License-Identifier: Apache-2.0
//
// What a program counts, and the page that Prometheus reads, as TensorFlow Serving writes it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"

namespace nrtd {

// Names and values, in the order in which the page has them.
using Labels = std::vector<std::pair<std::string, std::string>>;

// The limits 'scale', 'scale * growth', ... of so many buckets; a last one has all that is beyond.
struct Buckets {
  double scale, growth;
  int count;
};
inline constexpr Buckets kLatencyBuckets{10, 1.8, 33};  // microseconds

// Threadsafe.
class Metrics {
 public:
  // Declares a metric, so that the page has its type before anything was counted.
  void DeclareCounter(const std::string& name);
  void DeclareHistogram(const std::string& name, const Buckets& buckets);
  // A number that `read` gives whenever the page is made, with its labels.
  using Readings = std::vector<std::pair<Labels, int64_t>>;
  void DeclareGauge(const std::string& name, std::function<Readings()> read);

  void Count(const std::string& name, const Labels& labels, uint64_t by = 1);
  // Of a declared histogram.
  void Observe(const std::string& name, const Labels& labels, double value);

  // Prometheus' text format 0.0.4, with ':' for what names may not have, and no HELP.
  std::string Page() const;

 private:
  struct Histogram {
    std::vector<uint64_t> counts;  // one more than limits
    double sum = 0;
  };
  struct Metric {
    std::vector<double> limits;  // of a histogram
    std::map<Labels, uint64_t> counters;
    std::map<Labels, Histogram> histograms;
    std::function<Readings()> read;  // of a gauge
  };
  static void Write(const std::string& name, const Metric& metric, std::string* page);

  mutable Mutex mutex_;
  std::map<std::string, Metric> metrics_ NRTD_GUARDED_BY(mutex_);
};

}  // namespace nrtd
