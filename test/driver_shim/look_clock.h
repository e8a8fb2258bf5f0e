// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <ctime>

#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/sanitized.h"
#include "driver_shim/core.h"

namespace nrtd::sim {

// The clock of a PollLimit that measures how much CPU time of the thread passes between two looks
// at it. The limit itself is reached at every look, or never.
class LookClock final : public Clock {
 public:
  explicit LookClock(bool passes = false) : passes_(passes) {}
  // The limit is reached when the thread has used so much time since the poll began.
  explicit LookClock(Duration cpu_time) : cpu_time_(cpu_time.count()) {}

  TimePoint Now() override {
    const int64_t now = ThreadNs();
    longest_ns_ = std::max(longest_ns_, now - last_ns_);
    last_ns_ = now;
    ++looks_;
    const bool passed = passes_ || (cpu_time_ > 0 && now - began_ns_ > cpu_time_);
    return TimePoint(Duration(passed ? 1 : 0));
  }
  void WaitUntil(CondVar&, Mutex&, TimePoint) override NRTD_NO_THREAD_SAFETY_ANALYSIS {}

  // Polls once; the beginning and the end of the poll are looks.
  Progress Poll(Core& core) {
    began_ns_ = last_ns_ = ThreadNs();
    const Progress progress = core.Poll({this, TimePoint(Duration(1))});
    Now();
    return progress;
  }

  uint64_t looks() const { return looks_; }
  int64_t longest_ns() const { return longest_ns_; }

  // The promise of Core::Poll(). Times under a sanitizer are meaningless.
  void ExpectLooks() const {
    constexpr int64_t kPromisedNs = 50'000'000;
    EXPECT_GT(looks_, 1U);
    if (!kSanitized) {
      EXPECT_LT(longest_ns_, kPromisedNs);
    }
  }

 private:
  static int64_t ThreadNs() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  }

  const bool passes_ = false;
  const int64_t cpu_time_ = 0;
  int64_t began_ns_ = 0;
  int64_t last_ns_ = 0;
  int64_t longest_ns_ = 0;
  uint64_t looks_ = 0;
};

}  // namespace nrtd::sim
