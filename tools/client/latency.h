// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nrtd::client {

// Samples of a duration and their percentiles. Not threadsafe.
class Latencies {
 public:
  void Reserve(size_t count) { samples_ns_.reserve(count); }
  void Add(std::chrono::nanoseconds sample);
  void Add(const Latencies& others);

  size_t count() const { return samples_ns_.size(); }
  // The smallest sample that at least `percent` (over 0, to 100) of the samples do not exceed, in
  // microseconds: the nearest-rank percentile, always a sample that occurred. 0 without samples.
  double PercentileUs(double percent);

 private:
  std::vector<int64_t> samples_ns_;
  bool sorted_ = true;
};

}  // namespace nrtd::client
