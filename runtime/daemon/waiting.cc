// SPDX-License-Identifier: Apache-2.0
#include "runtime/daemon/waiting.h"

#include <string>

#include <unistd.h>

#include "base/log.h"
#include "runtime/daemon/back_off.h"
#include "runtime/machine.h"
#include "runtime/service/unavailable_server.h"

namespace nrtd::daemon {
namespace {

// Whether all can be had now. What it gets it gives back at once: the new program takes it again.
bool TryToAcquire(const Options& options, Clock& clock, service::UnavailableServer& server,
                  std::string& reason) {
  const auto machine = runtime::Machine::Acquire(options.machine, clock);
  if (machine) return true;
  if (machine.error().text != reason) {
    reason = machine.error().text;
    server.SetReason(reason);
    Log(LogLevel::kError, "NRTD:Main", "{}", AsIs(reason));
  }
  return false;
}

}  // namespace

int AwaitMachine(const Options& options, service::Endpoint endpoint, const Error& reason,
                 Clock& clock, boost::asio::io_context& io, char** argv) {
  const std::string address = endpoint.address();
  Log(LogLevel::kError, "NRTD:Main", "{}", AsIs(reason.text));
  auto server = service::UnavailableServer::Start(std::move(endpoint), reason.text, io);
  if (!server) {
    Log(LogLevel::kError, "NRTD:Main", "{}", AsIs(server.error().text));
    return 1;
  }
  Log(LogLevel::kError, "NRTD:Main",
      "not initialized: answering every call on {} with code 6, trying again", address);
  bool acquired = false;
  const BackOff retry(io, [&, last_reason = reason.text]() mutable {
    acquired = TryToAcquire(options, clock, **server, last_reason);
    if (acquired) io.stop();
    return acquired;
  });
  io.run();
  server->reset();
  if (!acquired) return 0;
  Log(LogLevel::kInfo, "NRTD:Main", "everything is there now: starting");
  ::execv("/proc/self/exe", argv);
  Log(LogLevel::kError, "NRTD:Main", "cannot start anew: {}", ErrnoText(errno));
  return 1;
}

}  // namespace nrtd::daemon
