// SPDX-License-Identifier: Apache-2.0
#include "runtime/ledger/rate_limiter.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include <boost/asio/post.hpp>

namespace nrtd::runtime {
namespace {

constexpr size_t kFewBuckets = 1024;
// How often those that wait are looked at: a token comes every 10 ms.
constexpr auto kPeriod = std::chrono::milliseconds(10);

}  // namespace

RateLimiter::RateLimiter(boost::asio::io_context& io, Clock& clock, double per_second)
    : io_(io),
      clock_(clock),
      per_second_(per_second),
      burst_(per_second * kBurstSeconds),
      timer_(io),
      most_buckets_(kFewBuckets) {}

void RateLimiter::Fill(Bucket& bucket, TimePoint now) const {
  const std::chrono::duration<double> passed = now - bucket.filled_at;
  bucket.level = std::min(bucket.level + passed.count() * per_second_, burst_);
  bucket.filled_at = now;
}

RateLimiter::Bucket& RateLimiter::BucketOf(scheduler::ProcessKey client, TimePoint now) {
  if (buckets_.size() > most_buckets_) {
    // Those of clients that have gone, or that seldom ask.
    std::erase_if(buckets_, [&](const auto& entry) {
      Bucket bucket = {entry.second.level, entry.second.filled_at, {}};
      Fill(bucket, now);
      return entry.second.waiting.empty() && bucket.level >= burst_;
    });
    most_buckets_ = std::max(kFewBuckets, 2 * buckets_.size());
  }
  return buckets_.try_emplace(client, Bucket{burst_, now, {}}).first->second;
}

bool RateLimiter::Admit(scheduler::ProcessKey client, double cost, std::function<void()> go_on) {
  MutexLock lock(mutex_);
  if (open_ || per_second_ == 0) return true;
  const TimePoint now = clock_.Now();
  Bucket& bucket = BucketOf(client, now);
  Fill(bucket, now);
  if (bucket.waiting.empty() && bucket.level > 0) {
    bucket.level -= cost;
    return true;
  }
  bucket.waiting.push_back({cost, std::move(go_on)});
  if (!std::exchange(scheduled_, true)) boost::asio::post(io_, [this] { Schedule(); });
  return false;
}

void RateLimiter::GoOn() {
  std::vector<std::function<void()>> due;
  {
    MutexLock lock(mutex_);
    const TimePoint now = clock_.Now();
    bool waiting = false;
    for (auto& [client, bucket] : buckets_) {
      if (bucket.waiting.empty()) continue;
      Fill(bucket, now);
      for (; !bucket.waiting.empty() && (open_ || bucket.level > 0); bucket.waiting.pop_front()) {
        bucket.level -= bucket.waiting.front().cost;
        due.push_back(std::move(bucket.waiting.front().go_on));
      }
      waiting = waiting || !bucket.waiting.empty();
    }
    scheduled_ = waiting;
    if (waiting) Schedule();
  }
  for (const auto& go_on : due) go_on();
}

void RateLimiter::Schedule() {
  timer_.expires_after(kPeriod);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) GoOn();
  });
}

void RateLimiter::Open() {
  {
    MutexLock lock(mutex_);
    open_ = true;
  }
  GoOn();
}

}  // namespace nrtd::runtime
