// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/memory_trimmer.h"

#include <utility>

#include <boost/asio/post.hpp>

#include "base/timeouts.h"

namespace nrtd::service {
namespace {

int64_t NowNs() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

}  // namespace

MemoryTrimmer::MemoryTrimmer(boost::asio::io_context& io, std::function<void()> trim)
    : io_(io), timer_(io), trim_(std::move(trim)) {}

void MemoryTrimmer::Freed() {
  last_ns_.store(NowNs(), std::memory_order_relaxed);
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
  // Where thousands of calls went at once, gRPC may still be freeing them.
  if (std::exchange(trimmed_ns_, last_ns) != last_ns) {
    trim_();
    Schedule(kTrimAfter);
    return;
  }
  // Whatever is freed from here on schedules again.
  scheduled_.store(false);
  trim_();
}

}  // namespace nrtd::service
