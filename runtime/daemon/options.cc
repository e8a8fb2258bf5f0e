// SPDX-License-Identifier: Apache-2.0
#include "runtime/daemon/options.h"

#include <iostream>

#include <CLI/CLI.hpp>

#include "runtime/service/version.h"

namespace nrtd::daemon {

Parsed ParseOptions(int argc, char** argv) {
  Parsed parsed;
  Options& options = parsed.options;
  int level = static_cast<int>(LogLevel::kInfo);
  CLI::App app(
      "neuron-rtd: the open Neuron Runtime 1.x daemon. Owns Inferentia devices, loads compiled "
      "networks (NEFF) and serves "
      "inference over gRPC.",
      "neuron-rtd");
  app.add_option("-g,--address", options.address, "Where to listen: unix:/path or host:port")
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
