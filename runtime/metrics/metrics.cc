// SPDX-License-Identifier: Apache-2.0
#include "runtime/metrics/metrics.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <tuple>

namespace nrtd::runtime {
namespace {

uint64_t NanosecondsSinceEpoch() {
  return static_cast<uint64_t>(
      std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count());
}

void Count(std::atomic<uint64_t>& counter) {
  counter.fetch_add(1, std::memory_order_relaxed);
}
uint64_t Read(const std::atomic<uint64_t>& counter) {
  return counter.load(std::memory_order_relaxed);
}

Summary SummaryOf(std::span<const Sample> samples, uint64_t time_ns) {
  std::vector<double> sorted;
  for (const Sample& sample : samples) sorted.push_back(sample.value);
  std::sort(sorted.begin(), sorted.end());
  Summary summary{.time_ns = time_ns,
                  .min = sorted.front(),
                  .max = sorted.back(),
                  .sum = 0,
                  .count = sorted.size(),
                  .values = {},
                  .counts = {}};
  for (double value : sorted) summary.sum += value;
  for (double percentile : kPercentiles) {
    const auto rank =
        static_cast<size_t>(std::ceil(percentile / 100 * static_cast<double>(sorted.size())));
    const double value = sorted[std::max<size_t>(rank, 1) - 1];
    summary.values.push_back(value);
    summary.counts.push_back(static_cast<uint32_t>(
        std::upper_bound(sorted.begin(), sorted.end(), value) - sorted.begin()));
  }
  return summary;
}

}  // namespace

void SampleRing::Add(const Sample& sample) {
  MutexLock lock(mutex_);
  if (samples_.size() < kCapacity) {
    samples_.push_back(sample);
  } else {
    samples_[added_ % kCapacity] = sample;
  }
  ++added_;
}

std::vector<Sample> SampleRing::Read() const {
  std::vector<Sample> read;
  read.reserve(kCapacity);
  MutexLock lock(mutex_);
  const size_t oldest = added_ > kCapacity ? added_ % kCapacity : 0;
  read.assign(samples_.begin() + static_cast<ptrdiff_t>(oldest), samples_.end());
  read.insert(read.end(), samples_.begin(), samples_.begin() + static_cast<ptrdiff_t>(oldest));
  return read;
}

bool SampleRing::overflowed() const {
  MutexLock lock(mutex_);
  return added_ > kCapacity;
}

std::vector<Summary> Summarize(std::vector<Sample> samples, std::chrono::seconds period) {
  // Two that record at once, or a clock that was set, may have left them out of order.
  std::stable_sort(samples.begin(), samples.end(),
                   [](const Sample& a, const Sample& b) { return a.time_ns < b.time_ns; });
  const auto length = static_cast<uint64_t>(std::chrono::nanoseconds(period).count());
  std::vector<Summary> summaries;
  const std::span<const Sample> all(samples);
  for (size_t first = 0; first < all.size();) {
    const uint64_t number = all[first].time_ns / length;
    size_t end = first;
    while (end < all.size() && all[end].time_ns / length == number) ++end;
    summaries.push_back(SummaryOf(all.subspan(first, end - first), (number + 1) * length));
    first = end;
  }
  return summaries;
}

void Metrics::Record(Metric metric, double value) {
  rings_[static_cast<size_t>(metric)].Add({NanosecondsSinceEpoch(), value});
}

void Metrics::CountInference(Nerr code) {
  const auto count = [&](InferStatus status, InferErrorSubtype subtype) {
    Count(by_status_[static_cast<size_t>(status)]);
    Count(by_subtype_[static_cast<size_t>(subtype)]);
  };
  switch (code) {
    case Nerr::kOk:
      return count(InferStatus::kOk, InferErrorSubtype::kNone);
    case Nerr::kInferCompletedWithNumErr:
      return count(InferStatus::kNumericalError, InferErrorSubtype::kNumerical);
    case Nerr::kInferCompletedWithErr:
      return count(InferStatus::kError, InferErrorSubtype::kModel);
    case Nerr::kInvalid:
    case Nerr::kInvalidHandle:
    case Nerr::kInferBadInput:
      return count(InferStatus::kBadInput, InferErrorSubtype::kNone);
    case Nerr::kTimeout:
      return count(InferStatus::kTimeout, InferErrorSubtype::kRuntime);
    case Nerr::kHwError:
      return count(InferStatus::kUnknown, InferErrorSubtype::kHardware);
    case Nerr::kQueueFull:
      Count(queue_drops_);
      Count(by_subtype_[static_cast<size_t>(InferErrorSubtype::kTransient)]);
      return;
    default:
      return count(InferStatus::kUnknown, InferErrorSubtype::kRuntime);
  }
}

void Metrics::CountLoad(uint64_t major, uint64_t minor, uint64_t bytes, uint64_t cores,
                        std::chrono::duration<double> took) {
  Record(Metric::kLoadLatency, took.count());
  Record(Metric::kModelSize, static_cast<double>(bytes));
  Record(Metric::kModelCores, static_cast<double>(cores));
  Record(Metric::kModelMajorVersion, static_cast<double>(major));
  MutexLock lock(mutex_);
  const bool first = loads_.fetch_add(1, std::memory_order_relaxed) == 0;
  if (first || std::tie(major, minor) > std::tie(neffs_.major_max, neffs_.minor_max))
    std::tie(neffs_.major_max, neffs_.minor_max) = std::tie(major, minor);
  if (first || std::tie(major, minor) < std::tie(neffs_.major_min, neffs_.minor_min))
    std::tie(neffs_.major_min, neffs_.minor_min) = std::tie(major, minor);
  neffs_.bytes_max = std::max(neffs_.bytes_max, bytes);
  neffs_.cores_max = std::max(neffs_.cores_max, cores);
}

void Metrics::CountUnload(std::chrono::duration<double> took) {
  Record(Metric::kUnloadLatency, took.count());
  Count(unloads_);
}

void Metrics::CountStart(std::chrono::duration<double> took) {
  Record(Metric::kStartLatency, took.count());
  Count(starts_);
}

void Metrics::CountStop(std::chrono::duration<double> took) {
  Record(Metric::kStopLatency, took.count());
  Count(stops_);
}

Metrics::Totals Metrics::totals() const {
  Totals totals;
  for (size_t i = 0; i < kInferStatuses; ++i) {
    totals.by_status[i] = Read(by_status_[i]);
    totals.inferences += totals.by_status[i];
  }
  for (size_t i = 0; i < kInferErrorSubtypes; ++i) totals.by_subtype[i] = Read(by_subtype_[i]);
  totals.queue_drops = Read(queue_drops_);
  totals.loads = Read(loads_);
  totals.unloads = Read(unloads_);
  totals.starts = Read(starts_);
  totals.stops = Read(stops_);
  return totals;
}

Metrics::Neffs Metrics::neffs() const {
  MutexLock lock(mutex_);
  return neffs_;
}

}  // namespace nrtd::runtime
