// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "base/log.h"
#include "runtime/machine.h"
#include "runtime/service/server.h"

namespace nrtd::daemon {

struct Options {
  service::ServerOptions server;
  runtime::MachineOptions machine;
  LogOptions log;
};

// What to do after the command line was read.
struct Parsed {
  Options options;
  bool run =
      false;  // false: something was printed (--help, --version, an error); end with exit_code
  int exit_code = 0;  // 2 for a wrong command line
};

// Reads the command line and NEURON_RTD_SIM.
Parsed ParseOptions(int argc, char** argv);

}  // namespace nrtd::daemon
