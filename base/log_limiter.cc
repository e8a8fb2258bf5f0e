// SPDX-License-Identifier: Apache-2.0
#include "base/log_limiter.h"

#include <algorithm>
#include <utility>

namespace nrtd {

std::optional<uint64_t> LogLimiter::Admit(std::string_view component) {
  const TimePoint now = clock_.Now();
  MutexLock lock(mutex_);
  auto at = buckets_.find(component);
  if (at == buckets_.end()) {
    const auto full = static_cast<double>(rate_.at_once);
    at = buckets_.emplace(component, Bucket{.lines = full, .filled = now, .refused = 0}).first;
  }
  Bucket& bucket = at->second;
  // Another thread may have read a later time and come first.
  const std::chrono::duration<double> passed = std::max(now, bucket.filled) - bucket.filled;
  bucket.filled += std::chrono::duration_cast<Duration>(passed);
  bucket.lines = std::min<double>(bucket.lines + passed.count() * rate_.per_second, rate_.at_once);
  if (bucket.lines < 1) {
    ++bucket.refused;
    return std::nullopt;
  }
  bucket.lines -= 1;
  return std::exchange(bucket.refused, 0);
}

}  // namespace nrtd
