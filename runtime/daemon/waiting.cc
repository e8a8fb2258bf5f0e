// SPDX-License-Identifier: Apache-2.0
#include "runtime/daemon/waiting.h"

#include <algorithm>
#include <chrono>
#include <string>

#include <boost/asio/steady_timer.hpp>
#include <unistd.h>

#include "base/log.h"
#include "base/timeouts.h"
#include "runtime/machine.h"
#include "runtime/service/unavailable_server.h"

namespace nrtd::daemon {
namespace {

class Retry {
 public:
  Retry(const Options& options, Clock& clock, boost::asio::io_context& io,
        service::UnavailableServer& server, std::string reason)
      : options_(options),
        clock_(clock),
        io_(io),
        server_(server),
        timer_(io),
        reason_(std::move(reason)) {}

  bool succeeded() const { return succeeded_; }

  void Schedule() {
    timer_.expires_after(pause_);
    pause_ = std::min(pause_ * 2, kMostRetryPause);
    timer_.async_wait([this](const boost::system::error_code& error) {
      if (!error) Try();
    });
  }

 private:
  // What it gets it gives back at once: the new program takes it again.
  void Try() {
    const auto machine = runtime::Machine::Acquire(options_.machine, clock_);
    if (machine) {
      succeeded_ = true;
      io_.stop();
      return;
    }
    if (machine.error().text != reason_) {
      reason_ = machine.error().text;
      server_.SetReason(reason_);
      Log(LogLevel::kError, "NRTD:Main", "{}", reason_);
    }
    Schedule();
  }

  const Options& options_;
  Clock& clock_;
  boost::asio::io_context& io_;
  service::UnavailableServer& server_;
  boost::asio::steady_timer timer_;
  Duration pause_ = kFirstRetryPause;
  std::string reason_;
  bool succeeded_ = false;
};

}  // namespace

int AwaitMachine(const Options& options, service::Endpoint endpoint, const Error& reason,
                 Clock& clock, boost::asio::io_context& io, char** argv) {
  const std::string address = endpoint.address();
  Log(LogLevel::kError, "NRTD:Main", "{}", reason.text);
  auto server = service::UnavailableServer::Start(std::move(endpoint), reason.text, io);
  if (!server) {
    Log(LogLevel::kError, "NRTD:Main", "{}", server.error().text);
    return 1;
  }
  Log(LogLevel::kError, "NRTD:Main",
      "not initialized: answering every call on {} with code 6, trying again", address);
  Retry retry(options, clock, io, **server, reason.text);
  retry.Schedule();
  io.run();
  server->reset();
  if (!retry.succeeded()) return 0;
  Log(LogLevel::kInfo, "NRTD:Main", "everything is there now: starting");
  ::execv("/proc/self/exe", argv);
  Log(LogLevel::kError, "NRTD:Main", "cannot start anew: {}", ErrnoText(errno));
  return 1;
}

}  // namespace nrtd::daemon
