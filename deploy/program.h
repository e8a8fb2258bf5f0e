// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "base/error.h"

namespace CLI {  // CLI11: its headers are only for code that declares options
class App;
}

namespace nrtd::deploy {

// What main() of the programs here does: parses the command line, logs to the console, and calls
// `serve`. An error goes to stderr after the program's name. Returns the exit code.
int RunProgram(CLI::App& app, int argc, const char* const* argv,
               const std::function<Result<void>()>& serve);

}  // namespace nrtd::deploy
