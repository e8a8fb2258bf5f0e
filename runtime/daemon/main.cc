// SPDX-License-Identifier: Apache-2.0
//
// neuron-rtd: opens the devices, serves until a signal, leaves nothing behind.
#include <csignal>
#include <functional>
#include <iostream>
#include <optional>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/heap.h"
#include "base/log.h"
#include "base/sanitized.h"
#include "runtime/daemon/back_off.h"
#include "runtime/daemon/doctor.h"
#include "runtime/daemon/options.h"
#include "runtime/daemon/privileges.h"
#include "runtime/daemon/waiting.h"
#include "runtime/runtime.h"
#include "runtime/service/server.h"

namespace nrtd::daemon {
namespace {

// Calls under way may end for so long after a signal; a client's default inference time-out is 2 s.
constexpr Duration kShutdownGrace = std::chrono::seconds(2);

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

void LogPlatform(const runtime::Machine& machine) {
  if (!machine.platform().simulated()) return;
  Log(LogLevel::kInfo, "NRTD:Main", "SIMULATED {}: {}", machine.platform().instance(),
      machine.platform().precision());
}

// SIGHUP reads the configuration again, every other one ends the daemon.
void AwaitSignals(boost::asio::signal_set& signals, boost::asio::io_context& io,
                  const std::function<void()>& reload) {
  signals.async_wait([&, reload](const boost::system::error_code& error, int signal) {
    if (error) return;
    if (signal == SIGHUP) {
      reload();
      AwaitSignals(signals, io, reload);
      return;
    }
    Log(LogLevel::kInfo, "NRTD:Main", "signal {}: shutting down", signal);
    io.stop();
  });
}

// A mistake of whoever started it does not mend itself, and neither does a machine without devices.
bool IsWorthWaiting(const Error& error, const Options& options) {
  return error.code != Nerr::kInvalid && !options.machine.platform.simulate.empty();
}

Result<void> Serve(const Options& options, service::Endpoint endpoint,
                   std::unique_ptr<runtime::Machine> machine, boost::asio::io_context& io,
                   boost::asio::signal_set& signals) {
  NRTD_TRY(DropPrivileges());
  NRTD_TRY(machine->Start());
  LogPlatform(*machine);
  NRTD_ASSIGN(runtime::IdBases ids,
              runtime::ChooseIds({options.state_directory, endpoint.fresh_folder()}));
  runtime::Runtime runtime(std::move(machine), std::move(ids));
  runtime.SetDefaults(options.defaults);
  NRTD_ASSIGN(const auto server,
              service::Server::Start(std::move(endpoint), options.server.access, runtime, io));
  // A sanitizer's search for leaks traces the process.
  if (options.seccomp && !kSanitized) NRTD_TRY(RestrictSystemCalls());
  Log(LogLevel::kInfo, "NRTD:RunServer", "Server listening on {}", server->address());
  runtime.machine().pool().AddRemainingBehind();
  AwaitSignals(signals, io, [&] {
    const auto reloaded = Reload(options, runtime);
    Log(reloaded ? LogLevel::kInfo : LogLevel::kError, "NRTD:Main", "SIGHUP: {}",
        AsIs(reloaded ? options.config_file + " was read again" : reloaded.error().text));
  });
  // Devices that another daemon has now are taken when it lets them go.
  std::optional<BackOff> missing_devices;
  if (!runtime.has_all_devices()) missing_devices.emplace(io, [&] { return runtime.AddDevices(); });
  io.run();
  server->Shutdown(kShutdownGrace);
  runtime.UnloadAll();
  return {};
}

int Run(const Options& options, char** argv) {
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
  if (!machine && IsWorthWaiting(machine.error(), options)) {
    AwaitSignals(signals, io, [] {});
    return AwaitMachine(options, std::move(*endpoint), machine.error(), clock, io, argv);
  }
  if (!machine) return Fatal(machine.error());
  const auto served = Serve(options, std::move(*endpoint), std::move(*machine), io, signals);
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
  nrtd::InitLog(parsed.options.log);
  return nrtd::daemon::Run(parsed.options, argv);
}
