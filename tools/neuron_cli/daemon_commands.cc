// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <memory>

#include "tools/client/address.h"
#include "tools/client/tool.h"
#include "tools/neuron_cli/command.h"

namespace nrtd::cli {
namespace {

void AddReset(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("reset", "Unload every model and free every group");
  command->callback([&invocation] {
    invocation.run = [&invocation]() -> Result<void> {
      NRTD_ASSIGN(client::Daemon daemon, ConnectTo(invocation));
      NRTD_TRY(daemon.UnloadAll());
      fmt::print("Unloaded all models\n");
      return {};
    };
  });
}

// A daemon whose devices never came up still answers; it is not ready for anything.
Result<void> WaitReady(const Invocation& invocation, double timeout_s) {
  client::ConnectOptions options;
  options.wait_for_daemon = true;
  options.timeout = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(timeout_s));
  NRTD_ASSIGN(client::Daemon daemon, ConnectTo(invocation, options));
  const auto health = daemon.Health();
  if (!health) {
    // A daemon without the control service cannot say more than that it answers.
    if (health.error().code != Nerr::kUnsupportedVersion)
      return tl::unexpected<Error>(health.error());
    fmt::print("{} answers\n", daemon.address());
    return {};
  }
  if (health->state() == "failed") {
    return Fail(Nerr::kHwError, "the daemon at {} has failed: {}", daemon.address(),
                health->reason());
  }
  fmt::print("{} answers: {}{}{}{}\n", daemon.address(), health->state(),
             health->reason().empty() ? "" : ", ", health->reason(),
             health->simulated() ? " (SIMULATED device)" : "");
  return {};
}

void AddWaitReady(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("wait-ready", "Wait until the daemon answers");
  const auto timeout_s = std::make_shared<double>(30);
  command->add_option("--timeout", *timeout_s, "Seconds to wait at most")
      ->check(CLI::Range(0.001, 86400.0))
      ->capture_default_str();
  command->callback([&invocation, timeout_s] {
    invocation.run = [&invocation, timeout_s] { return WaitReady(invocation, *timeout_s); };
  });
}

}  // namespace

void AddDaemonCommands(CLI::App& app, Invocation& invocation) {
  AddReset(app, invocation);
  AddWaitReady(app, invocation);
}

Result<client::Daemon> ConnectTo(const Invocation& invocation,
                                 const client::ConnectOptions& options) {
  NRTD_ASSIGN(const std::string address, client::ResolveAddress(invocation.address));
  return client::Daemon::Connect(address, options);
}

}  // namespace nrtd::cli
