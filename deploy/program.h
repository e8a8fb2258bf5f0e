// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "base/command_line.h"
#include "base/error.h"

namespace nrtd::deploy {

// What main() of the programs here does: parses the command line, logs to the console, and calls
// `serve`. An error goes to stderr after the program's name. Returns the exit code.
int RunProgram(CommandLine& line, int argc, const char* const* argv,
               const std::function<Result<void>()>& serve);

}  // namespace nrtd::deploy
