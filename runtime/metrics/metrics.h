// SPDX-License-Identifier: Apache-2.0
//
// What read_all_metrics and the counters tell: samples with their time, and totals since the
// daemon's start. Recording is cheap enough for every inference, and reading holds up nobody for
// longer than it takes to copy one kind of samples.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"

namespace nrtd::runtime {

// The numbers are those of metric_type on the wire. Latencies are seconds.
enum class Metric : uint32_t {
  kInferLatency = 0,        // from its submission until its outcome was collected
  kInferDeviceLatency = 1,  // what the cores worked on it
  kStartLatency = 2,
  kStopLatency = 3,
  kLoadLatency = 4,
  kUnloadLatency = 5,
  kModelSize = 6,          // bytes of the NEFF, at its load
  kModelCores = 7,         // at its load
  kModelMajorVersion = 8,  // of the NEFF, at its load
  kInferDeviceKilocycles = 9,
};
inline constexpr uint32_t kMetrics = 10;

struct Sample {
  uint64_t time_ns = 0;  // since 1970
  double value = 0;
  bool operator==(const Sample&) const = default;
};

// The last samples of one kind. Threadsafe.
class SampleRing {
 public:
  static constexpr size_t kCapacity = 4096;

  void Add(const Sample& sample);
  // Oldest first.
  std::vector<Sample> Read() const;
  // Have samples been dropped for newer ones?
  bool overflowed() const;

 private:
  mutable Mutex mutex_;
  std::vector<Sample> samples_ NRTD_GUARDED_BY(mutex_);  // a ring once it is full
  uint64_t added_ NRTD_GUARDED_BY(mutex_) = 0;
};

// Samples of one period, as the wire's `aggregate` takes them.
struct Summary {
  uint64_t time_ns = 0;  // the period's end
  double min = 0;
  double max = 0;
  double sum = 0;
  uint64_t count = 0;
  // values[i] is the kPercentiles[i]-th percentile (nearest rank); counts[i] samples are not
  // larger.
  std::vector<double> values;
  std::vector<uint32_t> counts;
};
inline constexpr std::array<double, 7> kPercentiles = {0, 1, 25, 50, 75, 99, 100};

// One summary for each period of the clock that holds samples, oldest first. period > 0.
std::vector<Summary> Summarize(std::vector<Sample> samples, std::chrono::seconds period);

// The numbers are those of infer_status and infer_error_subtype on the wire; kUnknown is sent
// as 15.
enum class InferStatus { kOk, kNumericalError, kError, kBadInput, kTimeout, kUnknown };
inline constexpr size_t kInferStatuses = 6;
enum class InferErrorSubtype { kNone, kNumerical, kModel, kTransient, kHardware, kRuntime };
inline constexpr size_t kInferErrorSubtypes = 6;

// Threadsafe.
class Metrics {
 public:
  struct Totals {
    std::array<uint64_t, kInferStatuses> by_status{};
    std::array<uint64_t, kInferErrorSubtypes> by_subtype{};
    uint64_t inferences = 0;   // all statuses
    uint64_t queue_drops = 0;  // refused because every slot was taken; no inferences
    uint64_t loads = 0;
    uint64_t unloads = 0;
    uint64_t starts = 0;
    uint64_t stops = 0;
  };
  // Of the NEFFs that were loaded; all 0 before the first.
  struct Neffs {
    uint64_t major_max = 0, minor_max = 0;
    uint64_t major_min = 0, minor_min = 0;
    uint64_t bytes_max = 0;
    uint64_t cores_max = 0;
  };

  void Record(Metric metric, double value);
  // How a request for an inference ended: what the client was told.
  void CountInference(Nerr code);
  void CountLoad(uint64_t major, uint64_t minor, uint64_t bytes, uint64_t cores,
                 std::chrono::duration<double> took);
  void CountUnload(std::chrono::duration<double> took);
  void CountStart(std::chrono::duration<double> took);
  void CountStop(std::chrono::duration<double> took);

  const SampleRing& samples(Metric metric) const { return rings_[static_cast<size_t>(metric)]; }
  Totals totals() const;
  Neffs neffs() const;

 private:
  using Counter = std::atomic<uint64_t>;
  std::array<SampleRing, kMetrics> rings_;
  std::array<Counter, kInferStatuses> by_status_{};
  std::array<Counter, kInferErrorSubtypes> by_subtype_{};
  Counter queue_drops_{0};
  Counter loads_{0};
  Counter unloads_{0};
  Counter starts_{0};
  Counter stops_{0};
  mutable Mutex mutex_;
  Neffs neffs_ NRTD_GUARDED_BY(mutex_);
};

}  // namespace nrtd::runtime
