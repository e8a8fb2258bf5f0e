// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/clock.h"

namespace nrtd::service {

// Gives free memory back to the system once no large message has gone for a while (kTrimAfter): the
// next message of a busy client finds its buffers still there, an idle daemon is small. Once more a
// while later.
class MemoryTrimmer {
 public:
  // Trims on the thread that runs `io`, which outlives this.
  MemoryTrimmer(boost::asio::io_context& io, std::function<void()> trim);

  // Memory of a large message, or of a network, was freed. Any thread; takes no lock but for the
  // first one after a pause.
  void Freed();

 private:
  void Schedule(Duration pause);
  void Fire();

  boost::asio::io_context& io_;
  boost::asio::steady_timer timer_;
  const std::function<void()> trim_;
  std::atomic<int64_t> last_ns_{0};  // when Freed() was called last
  int64_t trimmed_ns_ = 0;           // when that was at the last time that it trimmed
  std::atomic<bool> scheduled_{false};
};

}  // namespace nrtd::service
