// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace nrtd {

struct LineRate {
  uint32_t per_second = 0;
  uint32_t at_once = 0;  // after a second or more of silence
};

// Lines of one component that clients may cause. Some ten components have such lines, so this is
// 200 lines a second at the very most, and an honest client that loads a hundred models at once
// still has a line for each.
inline constexpr LineRate kClientLines{.per_second = 20, .at_once = 200};

// How many lines of each component may be written: a token bucket a component. Threadsafe.
class LogLimiter {
 public:
  // `clock` outlives this.
  LogLimiter(Clock& clock, LineRate rate) : clock_(clock), rate_(rate) {}

  // The line may be written; how many were not since the last one that was. Nothing: not now.
  // Components are few, and constants of the program.
  std::optional<uint64_t> Admit(std::string_view component);

 private:
  struct Bucket {
    double lines = 0;
    TimePoint filled;
    uint64_t refused = 0;
  };
  Clock& clock_;
  const LineRate rate_;
  Mutex mutex_;
  std::map<std::string, Bucket, std::less<>> buckets_ NRTD_GUARDED_BY(mutex_);
};

}  // namespace nrtd
