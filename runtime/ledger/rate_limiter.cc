// SPDX-License-Identifier: Apache-2.0
#include "runtime/ledger/rate_limiter.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <boost/asio/post.hpp>

namespace nrtd::runtime {
namespace {

constexpr size_t kFewBuckets = 1024;
// How often those that wait are looked at.
constexpr auto kPeriod = std::chrono::milliseconds(10);

}  // namespace

RateLimiter::RateLimiter(boost::asio::io_context& io, Clock& clock, double per_second)
    : io_(io),
      clock_(clock),
      per_second_(per_second),
      burst_(per_second * kBurstSeconds),
      timer_(io),
      most_buckets_(kFewBuckets) {}

double RateLimiter::LevelAt(const Bucket& bucket, TimePoint now) const {
  const std::chrono::duration<double> passed = now - bucket.filled_at;
  return std::min(bucket.level + passed.count() * per_second_, burst_);
}

// With its level of now.
RateLimiter::Bucket& RateLimiter::BucketOf(scheduler::ProcessKey client, TimePoint now) {
  if (buckets_.size() > most_buckets_) {
    // Those of clients that have gone, or that seldom ask.
    std::erase_if(buckets_, [&](const auto& entry) {
      return entry.second.waiting.empty() && LevelAt(entry.second, now) >= burst_;
    });
    most_buckets_ = std::max(kFewBuckets, 2 * buckets_.size());
  }
  Bucket& bucket = buckets_.try_emplace(client, Bucket{burst_, now, {}}).first->second;
  bucket.level = LevelAt(bucket, now);
  bucket.filled_at = now;
  return bucket;
}

RateLimiter::Ticket RateLimiter::Wait(Bucket& bucket, double cost, std::function<void()> go_on) {
  std::list<Waiting> one;
  one.push_back({next_ticket_, cost, std::move(go_on)});
  if (!scheduled_) {
    boost::asio::post(io_, [this] { Schedule(); });
    scheduled_ = true;
  }
  bucket.waiting.splice(bucket.waiting.end(), one);
  return next_ticket_++;
}

RateLimiter::Verdict RateLimiter::AdmitCall(scheduler::ProcessKey client,
                                            std::function<void()> go_on) {
  MutexLock lock(mutex_);
  if (open_ || per_second_ == 0) return Verdict::kGoOn;
  Bucket& bucket = BucketOf(client, clock_.Now());
  if (bucket.waiting.empty() && bucket.level > 0) {
    bucket.level -= kCall;
    return Verdict::kGoOn;
  }
  if (!go_on || bucket.calls >= kMostCalls || calls_ >= kMostCallsTogether) {
    bucket.level -= kCall;
    if (bucket.level > -burst_) return Verdict::kRefused;
    bucket.level = -burst_;
    return Verdict::kCutOff;
  }
  (void)Wait(bucket, kCall, std::move(go_on));
  ++bucket.calls;
  ++calls_;
  return Verdict::kWaits;
}

RateLimiter::Ticket RateLimiter::AdmitConnection(scheduler::ProcessKey client,
                                                 std::function<void()> go_on) {
  MutexLock lock(mutex_);
  if (open_ || per_second_ == 0) return 0;
  Bucket& bucket = BucketOf(client, clock_.Now());
  if (bucket.waiting.empty() && bucket.level > 0) {
    bucket.level -= kConnection;
    return 0;
  }
  return Wait(bucket, kConnection, std::move(go_on));
}

void RateLimiter::Forget(scheduler::ProcessKey client, Ticket ticket) {
  MutexLock lock(mutex_);
  const auto found = buckets_.find(client);
  if (found == buckets_.end()) return;
  found->second.waiting.remove_if([&](const Waiting& one) { return one.ticket == ticket; });
}

void RateLimiter::GoOn() {
  std::list<Waiting> due;
  {
    MutexLock lock(mutex_);
    const TimePoint now = clock_.Now();
    scheduled_ = false;
    for (auto& [client, bucket] : buckets_) {
      if (bucket.waiting.empty()) continue;
      bucket.level = LevelAt(bucket, now);
      bucket.filled_at = now;
      while (!bucket.waiting.empty() && (open_ || bucket.level > 0)) {
        const double cost = bucket.waiting.front().cost;
        bucket.level -= cost;
        if (cost == kCall) {
          --bucket.calls;
          --calls_;
        }
        due.splice(due.end(), bucket.waiting, bucket.waiting.begin());
      }
      scheduled_ = scheduled_ || !bucket.waiting.empty();
    }
    if (scheduled_) Schedule();
  }
  for (const Waiting& one : due) one.go_on();
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
