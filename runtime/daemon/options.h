// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/log.h"
#include "runtime/config/config.h"
#include "runtime/runtime.h"
#include "runtime/service/server.h"

namespace nrtd::daemon {

// How the daemon runs: the command line, else the instance's file, else the configuration file,
// else what is built in.
struct Options {
  service::ServerOptions server;
  runtime::MachineOptions machine;
  runtime::LoadDefaults defaults;
  std::string state_directory;  // "" for none
  // NAME=AMOUNT as SetLimit() takes them, checked; they go before runtime::DefaultLimits().
  std::vector<std::string> client_limits;
  std::vector<std::string> total_limits;
  LogOptions log;
  std::string config_file;       // what was read, "" for none: read again on SIGHUP
  bool log_level_given = false;  // on the command line: a file does not change it
  bool seccomp = true;
};

// What to do after the command line was read.
struct Parsed {
  enum class Action { kServe, kDoctor, kExit };
  Options options;
  Action action = Action::kExit;  // kExit: something was printed (--help, --version, an error)
  int exit_code = 0;              // 2 for a wrong command line, 1 for a wrong file
};

// Reads the command line, NEURON_RTD_SIM, AWS_NEURON_VISIBLE_DEVICES, and the files.
Parsed ParseOptions(int argc, char** argv);

// Reads the configuration again for what may change while the daemon runs: sets the log level and
// answers the defaults of loads.
Result<runtime::LoadDefaults> Reload(const Options& options);

}  // namespace nrtd::daemon
