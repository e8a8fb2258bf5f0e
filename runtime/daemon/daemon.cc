// SPDX-License-Identifier: Apache-2.0
#include "runtime/daemon/daemon.h"

#include <csignal>
#include <cstdlib>
#include <utility>

#include <sys/resource.h>

#include "base/log.h"
#include "base/sanitized.h"
#include "base/timeouts.h"
#include "memory/pagemap.h"
#include "runtime/daemon/privileges.h"
#include "runtime/daemon/shutdown_bound.h"

namespace nrtd::daemon {
namespace {

void LogPlatform(const runtime::Machine& machine) {
  if (!machine.platform().simulated()) return;
  Log(LogLevel::kInfo, "NRTD:Main", "SIMULATED {}: {}", machine.platform().instance(),
      machine.platform().precision());
}

// Small pages are locked, which later has to do without IPC_LOCK: as far as the system allows. Huge
// pages need none of it.
void AllowLocking() {
  const rlimit all{RLIM_INFINITY, RLIM_INFINITY};
  if (::setrlimit(RLIMIT_MEMLOCK, &all) == 0) return;
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_MEMLOCK, &limit);
}

// What the system gives now, unless the options say otherwise.
runtime::Limits LimitsOf(const Options& options) {
  runtime::Limits limits = runtime::DefaultLimits(runtime::ReadSystemRoom());
  for (const std::string& assignment : options.client_limits)
    (void)runtime::SetLimit(limits.per_client, assignment);  // checked when they were read
  for (const std::string& assignment : options.total_limits)
    (void)runtime::SetLimit(limits.total, assignment);
  return limits;
}

}  // namespace

Result<void> Daemon::Serve(service::Endpoint endpoint,
                           Result<std::unique_ptr<runtime::Machine>> machine,
                           boost::asio::signal_set& signals) {
  if (!machine) {
    AllowLocking();
    machine_options_ = options_.machine;
    if (auto pagemap = memory::Pagemap::Open())
      machine_options_.pagemap = std::make_shared<const memory::Pagemap>(std::move(*pagemap));
  }
  NRTD_TRY(DropPrivileges());
  if (machine) NRTD_TRY((*machine)->Start());
  // A sanitizer's search for leaks traces the process.
  if (options_.seccomp && !kSanitized) NRTD_TRY(RestrictSystemCalls());
  NRTD_ASSIGN(ids_, runtime::ChooseIds({options_.state_directory, endpoint.fresh_folder()}));
  sessions_ = std::make_shared<runtime::SessionTable>(LimitsOf(options_), ids_.first_session);
  if (machine) {
    MakeRuntime(std::move(*machine));
  } else {
    reason_ = machine.error().text;
  }
  NRTD_ASSIGN(server_, service::Server::Start(std::move(endpoint), options_.server,
                                              {*sessions_, runtime_.get(), reason_, clock_}, io_));
  if (runtime_ != nullptr) {
    Ready();
  } else {
    Log(LogLevel::kError, "NRTD:Main", "{}", AsIs(reason_));
    Log(LogLevel::kError, "NRTD:Main",
        "not initialized: answering every call on {} with code 6, trying again",
        server_->address());
    machine_.emplace(io_, [this] { return TryAgain(); });
  }
  AwaitSignals(signals);
  io_.run();
  Shutdown();
  return {};
}

void Daemon::Shutdown() {
  // The server lets `io_` run once more.
  machine_.reset();
  devices_.reset();
  const auto cut_off = [this] {
    Log(LogLevel::kWarning, "NRTD:Main", "calls are still in flight: cores are reset");
    if (runtime_ == nullptr) return;
    runtime_->StopLoads();
    runtime_->UnloadAll(runtime::kAnyProcess, runtime::Network::Urgency::kAtOnce, [] {});
  };
  // Its socket is gone by then: nothing else outlives the process.
  const auto give_up = [] {
    if (kSanitized) return;  // where everything takes many times as long
    Log(LogLevel::kError, "NRTD:Main", "clients kept the daemon from ending in time: exiting");
    std::_Exit(1);
  };
  const ShutdownBound bound(clock_, cut_off, give_up);
  server_->Shutdown(kShutdownGrace);
  if (runtime_ != nullptr) runtime_->UnloadAll();
}

void Daemon::MakeRuntime(std::unique_ptr<runtime::Machine> machine) {
  LogPlatform(*machine);
  runtime_ = std::make_unique<runtime::Runtime>(std::move(machine), std::move(ids_), sessions_);
  runtime_->SetDefaults(defaults_);
}

void Daemon::Ready() {
  Log(LogLevel::kInfo, "NRTD:RunServer", "Server listening on {}", server_->address());
  runtime_->machine().pool().AddRemainingBehind();
  // Devices that another daemon has now are taken when it lets them go.
  if (!runtime_->has_all_devices())
    devices_.emplace(io_, [this] { return runtime_->AddDevices(); });
}

bool Daemon::TryAgain() {
  auto machine = runtime::Machine::Acquire(machine_options_, clock_);
  const Result<void> started =
      machine ? (*machine)->Start() : tl::unexpected<Error>(machine.error());
  if (!started) {
    if (started.error().text == reason_) return false;
    reason_ = started.error().text;
    server_->SetReason(reason_);
    Log(LogLevel::kError, "NRTD:Main", "{}", AsIs(reason_));
    return false;
  }
  Log(LogLevel::kInfo, "NRTD:Main", "everything is there now");
  MakeRuntime(std::move(*machine));
  server_->Provide(*runtime_);
  Ready();
  return true;
}

void Daemon::AwaitSignals(boost::asio::signal_set& signals) {
  signals.async_wait([&](const boost::system::error_code& error, int signal) {
    if (error) return;
    if (signal == SIGHUP) {
      ReadConfigAgain();
      AwaitSignals(signals);
      return;
    }
    Log(LogLevel::kInfo, "NRTD:Main", "signal {}: shutting down", signal);
    io_.stop();
  });
}

void Daemon::ReadConfigAgain() {
  const auto defaults = Reload(options_);
  Log(defaults ? LogLevel::kInfo : LogLevel::kError, "NRTD:Main", "SIGHUP: {}",
      AsIs(defaults ? options_.config_file + " was read again" : defaults.error().text));
  if (!defaults) return;
  defaults_ = *defaults;
  if (runtime_ != nullptr) runtime_->SetDefaults(defaults_);
}

}  // namespace nrtd::daemon
