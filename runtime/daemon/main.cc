// SPDX-License-Identifier: Apache-2.0
//
// neuron-rtd: opens the devices, serves until a signal, leaves nothing behind.
#include <csignal>
#include <iostream>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/heap.h"
#include "base/log.h"
#include "rpc/grpc_settings.h"
#include "runtime/daemon/daemon.h"
#include "runtime/daemon/doctor.h"
#include "runtime/daemon/options.h"

namespace nrtd::daemon {
namespace {

int Fatal(const Error& error) {
  Log(LogLevel::kError, "NRTD:Main", "{}", AsIs(error.text));
  std::cerr << "neuron-rtd: " << error.text << '\n';
  return 1;
}

// Two descriptors a client: as many as may be.
void RaiseFileLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

// A mistake of whoever started it does not mend itself, and neither does a machine without devices.
bool IsWorthWaiting(const Error& error, const Options& options) {
  return error.code != Nerr::kInvalid && !options.machine.platform.simulate.empty();
}

int Run(const Options& options) {
  SteadyClock clock;
  RaiseFileLimit();
  std::signal(SIGPIPE, SIG_IGN);
  // A limit on the size of files is an error of the write, not the end of the daemon.
  std::signal(SIGXFSZ, SIG_IGN);
  boost::asio::io_context io;
  boost::asio::signal_set signals(io, SIGINT, SIGTERM, SIGHUP);
  auto endpoint = service::Endpoint::Reserve(options.server);
  if (!endpoint) return Fatal(endpoint.error());
  auto machine = runtime::Machine::Acquire(options.machine, clock);
  if (!machine && !IsWorthWaiting(machine.error(), options)) return Fatal(machine.error());
  const auto served =
      Daemon(options, clock, io).Serve(std::move(*endpoint), std::move(machine), signals);
  return served ? 0 : Fatal(served.error());
}

}  // namespace
}  // namespace nrtd::daemon

int main(int argc, char** argv) {
  using nrtd::daemon::Parsed;
  nrtd::LimitHeap();
  const auto parsed = nrtd::daemon::ParseOptions(argc, argv);
  switch (parsed.action) {
    case Parsed::Action::kExit:
      return parsed.exit_code;
    case Parsed::Action::kDoctor:
      return nrtd::daemon::Examine(parsed.options, std::cout) ? 0 : 1;
    case Parsed::Action::kServe:
      break;
  }
  nrtd::rpc::SetUpLocks();
  nrtd::InitLog(parsed.options.log);
  return nrtd::daemon::Run(parsed.options);
}
