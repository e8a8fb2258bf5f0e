// SPDX-License-Identifier: Apache-2.0
#include "runtime/daemon/options.h"

#include <charconv>
#include <iostream>
#include <map>

#include <CLI/CLI.hpp>
#include <grp.h>

#include "runtime/service/version.h"

namespace nrtd::daemon {
namespace {

mode_t Mode(const std::string& text) {
  mode_t mode = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
  if (text.empty() || error != std::errc() || *end != '\0' || mode > 0777)
    throw CLI::ValidationError("--socket-mode", fmt::format("'{}' is not 0 to 0777", text));
  return mode;
}

gid_t Group(const std::string& text) {
  gid_t gid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), gid);
  if (!text.empty() && error == std::errc() && *end == '\0') return gid;
  const struct group* const entry = ::getgrnam(text.c_str());
  if (entry == nullptr)
    throw CLI::ValidationError("--socket-group", fmt::format("there is no group '{}'", text));
  return entry->gr_gid;
}

}  // namespace

Parsed ParseOptions(int argc, char** argv) {
  Parsed parsed;
  Options& options = parsed.options;
  int level = static_cast<int>(LogLevel::kInfo);
  CLI::App app(
      "neuron-rtd: the open Neuron Runtime 1.x daemon. Owns Inferentia devices, loads compiled "
      "networks (NEFF) and serves "
      "inference over gRPC.",
      "neuron-rtd");
  app.add_option("-g,--address", options.server.address, "Where to listen: unix:/path or host:port")
      ->capture_default_str();
  app.add_option("--sim", options.machine.platform.simulate,
                 "Simulate the devices of an instance: inf1.xlarge, inf1.2xlarge, inf1.6xlarge or "
                 "inf1.24xlarge")
      ->envname("NEURON_RTD_SIM");
  app.add_option("--hugepages", options.machine.pages_per_device,
                 "Huge pages of 2 MiB to take for each device")
      ->check(CLI::Range(8, 65536))
      ->capture_default_str();
  app.add_flag("--allow-small-pages", options.machine.allow_small_pages,
               "Start without huge pages (simulated devices only; slower)");
  app.add_option("--isolation", options.server.access.isolation,
                 "none: any client may use any handle, as in 1.x; session: only the process that "
                 "made it")
      ->transform(CLI::CheckedTransformer(std::map<std::string, runtime::Isolation>{
          {"none", runtime::Isolation::kNone}, {"session", runtime::Isolation::kSession}}))
      ->default_str("none");
  app.add_option("--operator-uid", options.server.access.operator_uids,
                 "With --isolation=session: users that may use everybody's handles");
  app.add_option("--operator-gid", options.server.access.operator_gids, "The same for groups");
  app.add_flag("--reclaim-on-disconnect", options.server.access.reclaim_on_disconnect,
               "Free what a client made without a session when its connection ends");
  app.add_option_function<std::string>(
         "--socket-mode", [&](const std::string& text) { options.server.socket_mode = Mode(text); },
         "Who may connect to the unix socket, as chmod takes it")
      ->default_str("0666");
  app.add_option_function<std::string>(
      "--socket-group", [&](const std::string& text) { options.server.socket_group = Group(text); },
      "The group that the unix socket belongs to: a name or a number");
  app.add_option("-l,--log-level", level, "3 errors, 4 warnings, 5 what happened, 6 debug, 7 trace")
      ->check(CLI::Range(3, 7))
      ->capture_default_str();
  app.add_flag("-x,--log-console", options.log.console,
               "Log to the console (stderr) as well as to syslog");
  app.set_version_flag("-v,--version", std::string(service::kVersionText));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool asked = error.get_exit_code() == 0;
    app.exit(error, std::cout, std::cerr);
    parsed.exit_code = asked ? 0 : 2;
    return parsed;
  }
  options.log.level = static_cast<LogLevel>(level);
  parsed.run = true;
  return parsed;
}

}  // namespace nrtd::daemon
