// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/memory_trimmer.h"

#include <algorithm>
#include <utility>

#include <boost/asio/post.hpp>

#include "base/timeouts.h"

namespace nrtd::service {
namespace {

int64_t NowNs() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

}  // namespace

MemoryTrimmer::MemoryTrimmer(boost::asio::io_context& io, Heap heap)
    : io_(io), timer_(io), heap_(std::move(heap)) {}

void MemoryTrimmer::Freed() {
  last_ns_.store(NowNs());
  if (scheduled_.load(std::memory_order_relaxed) || scheduled_.exchange(true)) return;
  boost::asio::post(io_, [this] { Schedule(kTrimAfter); });
}

void MemoryTrimmer::Schedule(Duration pause) {
  timer_.expires_after(pause);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) Fire();
  });
}

void MemoryTrimmer::Fire() {
  const int64_t last_ns = last_ns_.load(std::memory_order_relaxed);
  const std::chrono::nanoseconds quiet(NowNs() - last_ns);
  if (quiet < kTrimAfter) {
    Schedule(kTrimAfter - quiet);
    return;
  }
  const uint64_t in_use = heap_.bytes_in_use();
  if (std::exchange(trimmed_for_ns_, last_ns) != last_ns || in_use + kWorthTrimming <= in_use_) {
    heap_.trim();
    trimmed_ns_ = NowNs();
    in_use_ = in_use;
  } else if (std::chrono::nanoseconds(NowNs() - trimmed_ns_) >= kHeapWatchedFor) {
    // Whatever is freed from here on schedules again.
    scheduled_.store(false);
    if (last_ns_.load() != last_ns && !scheduled_.exchange(true)) Schedule(kTrimAfter);
    return;
  }
  in_use_ = std::max(in_use_, in_use);
  Schedule(kTrimAfter);
}

}  // namespace nrtd::service
