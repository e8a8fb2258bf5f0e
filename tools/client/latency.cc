// SPDX-License-Identifier: Apache-2.0
#include "tools/client/latency.h"

#include <algorithm>
#include <cmath>

namespace nrtd::client {

void Latencies::Add(std::chrono::nanoseconds sample) {
  samples_ns_.push_back(sample.count());
  sorted_ = false;
}

void Latencies::Add(const Latencies& others) {
  samples_ns_.insert(samples_ns_.end(), others.samples_ns_.begin(), others.samples_ns_.end());
  sorted_ = false;
}

double Latencies::PercentileUs(double percent) {
  if (samples_ns_.empty()) return 0;
  if (!sorted_) std::sort(samples_ns_.begin(), samples_ns_.end());
  sorted_ = true;
  const double count = static_cast<double>(samples_ns_.size());
  const double rank = std::clamp(std::ceil(percent / 100 * count), 1.0, count);
  return static_cast<double>(samples_ns_[static_cast<size_t>(rank) - 1]) / 1000;
}

}  // namespace nrtd::client
