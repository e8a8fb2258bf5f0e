// SPDX-License-Identifier: Apache-2.0
//
// neuron-rtd: opens the devices, serves until a signal, leaves nothing behind.
#include <csignal>
#include <iostream>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "base/clock.h"
#include "base/log.h"
#include "runtime/daemon/options.h"
#include "runtime/runtime.h"
#include "runtime/service/server.h"

namespace nrtd::daemon {
namespace {

// Calls under way may end for so long after a signal; a client's default inference time-out is 2 s.
constexpr Duration kShutdownGrace = std::chrono::seconds(2);

int Fatal(const Error& error) {
  Log(LogLevel::kError, "NRTD:Main", "{}", error.text);
  std::cerr << "neuron-rtd: " << error.text << '\n';
  return 1;
}

void LogPlatform(const runtime::Machine& machine) {
  if (!machine.platform().simulated()) return;
  Log(LogLevel::kInfo, "NRTD:Main", "SIMULATED {}: {}", machine.platform().instance(),
      machine.platform().precision());
}

int Run(const Options& options) {
  SteadyClock clock;
  // Before any thread exists, so that all of them inherit the mask's absence and Asio alone sees
  // the signals.
  boost::asio::io_context io;
  boost::asio::signal_set signals(io, SIGINT, SIGTERM);
  std::signal(SIGPIPE, SIG_IGN);

  auto machine = runtime::Machine::Open(options.machine, clock);
  if (!machine) return Fatal(machine.error());
  LogPlatform(**machine);
  runtime::Runtime runtime(std::move(*machine));
  auto server = service::Server::Start(options.server, runtime, io);
  if (!server) return Fatal(server.error());
  Log(LogLevel::kInfo, "NRTD:RunServer", "Server listening on {}", (*server)->address());
  runtime.machine().pool().AddRemainingBehind();

  signals.async_wait([&](const boost::system::error_code&, int signal) {
    Log(LogLevel::kInfo, "NRTD:Main", "signal {}: shutting down", signal);
    io.stop();
  });
  io.run();
  (*server)->Shutdown(kShutdownGrace);
  runtime.UnloadAll();
  return 0;
}

}  // namespace
}  // namespace nrtd::daemon

int main(int argc, char** argv) {
  const auto parsed = nrtd::daemon::ParseOptions(argc, argv);
  if (!parsed.run) return parsed.exit_code;
  nrtd::InitLog(parsed.options.log);
  return nrtd::daemon::Run(parsed.options);
}
