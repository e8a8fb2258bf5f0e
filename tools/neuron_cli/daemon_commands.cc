// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>

#include "tools/client/address.h"
#include "tools/client/tool.h"
#include "tools/neuron_cli/command.h"
#include "tools/neuron_cli/listing.h"

namespace nrtd::cli {
namespace {

void AddReset(CommandLine& app, Invocation& invocation) {
  CommandLine& command = app.AddCommand("reset", "Unload every model and free every group");
  command.OnGiven([&invocation] {
    invocation.run = [&invocation]() -> Result<void> {
      NRTD_ASSIGN(client::Daemon daemon, ConnectTo(invocation));
      NRTD_TRY(daemon.UnloadAll());
      fmt::print("Unloaded all models\n");
      return {};
    };
  });
}

// A daemon whose devices never came up still answers; it is not ready for anything.
// Nothing, and a line printed, when the daemon is ready; its reason while it waits for its devices
// or its memory itself.
Result<void> CheckReady(client::Daemon& daemon) {
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
                AsIs(PrintableText(health->reason(), client::kMaxDaemonText)));
  }
  fmt::print("{} answers: {}{}{}{}\n", daemon.address(), Printable(health->state()),
             health->reason().empty() ? "" : ", ",
             PrintableText(health->reason(), client::kMaxDaemonText),
             health->simulated() ? " (SIMULATED device)" : "");
  return {};
}

Result<void> WaitReady(const Invocation& invocation, double timeout_s) {
  // A daemon that cannot start tries again every second at most.
  constexpr Duration kPause = std::chrono::milliseconds(100);
  const auto now = [] { return std::chrono::steady_clock::now(); };
  const auto deadline =
      now() + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(timeout_s));
  client::ConnectOptions options;
  options.wait_for_daemon = true;
  while (true) {
    options.timeout = std::max<Duration>(deadline - now(), kPause);
    NRTD_ASSIGN(client::Daemon daemon, ConnectTo(invocation, options));
    auto ready = CheckReady(daemon);
    if (ready || ready.error().code != Nerr::kHwError || now() + kPause >= deadline) return ready;
    std::this_thread::sleep_for(kPause);
  }
}

// What is still at work; "" when nobody is.
Result<std::string> WhoIsAtWork(client::Daemon& daemon) {
  NRTD_ASSIGN(const v1::ListClientsResponse clients, daemon.ListClients());
  for (const v1::Client& client : clients.clients()) {
    if (client.session_ids_size() > 0)
      return fmt::format("session {} of pid {}", client.session_ids(0), client.pid());
  }
  NRTD_ASSIGN(const v1::ListNetworksResponse networks, daemon.ListNetworks());
  for (const v1::Network& network : networks.networks()) {
    if (network.session_id() != 0 || network.slots_in_use() > 0)
      return fmt::format("model {}", network.id());
  }
  return "";
}

Result<void> Drain(const Invocation& invocation, double timeout_s) {
  constexpr Duration kPause = std::chrono::milliseconds(100);
  const auto deadline =
      std::chrono::steady_clock::now() +
      std::chrono::duration_cast<Duration>(std::chrono::duration<double>(timeout_s));
  NRTD_ASSIGN(client::Daemon daemon, ConnectTo(invocation));
  while (true) {
    NRTD_ASSIGN(const std::string at_work, WhoIsAtWork(daemon));
    if (at_work.empty()) break;
    if (std::chrono::steady_clock::now() + kPause >= deadline)
      return Fail(Nerr::kTimeout, "after {} s the daemon still has {}", timeout_s, at_work);
    std::this_thread::sleep_for(kPause);
  }
  fmt::print("No session is open and no inference under way\n");
  return {};
}

void AddListClients(CommandLine& app, Invocation& invocation) {
  CommandLine& command = app.AddCommand(
      "list-clients", "Show who is connected, and what each client makes the daemon hold");
  const auto json = std::make_shared<bool>(false);
  command.AddFlag("--json", json.get(), "Print JSON");
  command.OnGiven([&invocation, json] {
    invocation.run = [&invocation, json]() -> Result<void> {
      NRTD_ASSIGN(client::Daemon daemon, ConnectTo(invocation));
      NRTD_ASSIGN(const v1::ListClientsResponse clients, daemon.ListClients());
      fmt::print("{}", *json ? client::JsonText(ClientJson(clients)) : ClientTable(clients));
      return {};
    };
  });
}

void AddEvict(CommandLine& app, Invocation& invocation) {
  CommandLine& command = app.AddCommand(
      "evict", "End a client's connections and free all that it made (operators only)");
  const auto client_id = std::make_shared<uint64_t>(0);
  command.AddOption("CLIENT", client_id.get(), "Its id, as list-clients shows it").Required();
  command.OnGiven([&invocation, client_id] {
    invocation.run = [&invocation, client_id]() -> Result<void> {
      NRTD_ASSIGN(client::Daemon daemon, ConnectTo(invocation));
      NRTD_TRY(daemon.Evict(*client_id));
      fmt::print("Evicted client {}\n", *client_id);
      return {};
    };
  });
}

using Wait = Result<void> (*)(const Invocation& invocation, double timeout_s);
void AddWait(CommandLine& app, Invocation& invocation, const std::string& name,
             const std::string& what, Wait wait) {
  CommandLine& command = app.AddCommand(name, what);
  const auto timeout_s = std::make_shared<double>(30);
  command.AddOption("--timeout", timeout_s.get(), "Seconds to wait at most")
      .Range(0.001, 86400.0)
      .ShowDefault();
  command.OnGiven([&invocation, timeout_s, wait] {
    invocation.run = [&invocation, timeout_s, wait] { return wait(invocation, *timeout_s); };
  });
}

}  // namespace

void AddDaemonCommands(CommandLine& app, Invocation& invocation) {
  AddReset(app, invocation);
  AddListClients(app, invocation);
  AddEvict(app, invocation);
  AddWait(app, invocation, "wait-ready", "Wait until the daemon answers", WaitReady);
  AddWait(
      app, invocation, "drain",
      "Wait until no session is open and no inference under way, as before the daemon is stopped",
      Drain);
}

Result<client::Daemon> ConnectTo(const Invocation& invocation,
                                 const client::ConnectOptions& options) {
  NRTD_ASSIGN(const std::string address, client::ResolveAddress(invocation.address));
  return client::Daemon::Connect(address, options);
}

}  // namespace nrtd::cli
