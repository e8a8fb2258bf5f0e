// SPDX-License-Identifier: Apache-2.0
//
// Tries something again and again: after a second, two, four, at most a minute (base/timeouts.h).
#pragma once

#include <algorithm>
#include <functional>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/timeouts.h"

namespace nrtd::daemon {

class BackOff {
 public:
  // `attempt` answers whether it succeeded, which ends it; it runs on the thread that runs `io`,
  // which outlives this.
  BackOff(boost::asio::io_context& io, std::function<bool()> attempt)
      : timer_(io), attempt_(std::move(attempt)) {
    Schedule();
  }

 private:
  void Schedule() {
    timer_.expires_after(pause_);
    pause_ = std::min(pause_ * 2, kMostRetryPause);
    timer_.async_wait([this](const boost::system::error_code& error) {
      if (!error && !attempt_()) Schedule();
    });
  }

  boost::asio::steady_timer timer_;
  std::function<bool()> attempt_;
  Duration pause_ = kFirstRetryPause;
};

}  // namespace nrtd::daemon
