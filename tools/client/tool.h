// SPDX-License-Identifier: Apache-2.0
//
// What the main() of every tool does: parse, run, print one line if it failed, exit.
// Exit codes: 0 success, 1 the work failed, 2 wrong usage.
#pragma once

#include <functional>
#include <string>

#include <nlohmann/json.hpp>

#include "base/command_line.h"
#include "base/error.h"

namespace nrtd::client {

inline constexpr int kExitFailed = 1;

// Texts of a daemon are escaped and cut (base/printable.h) before a tool prints them. The daemon's
// own limit.
inline constexpr size_t kMaxDaemonText = 2048;

// -a/--address into `address`; what it leaves empty, ResolveAddress fills in.
void AddAddressOption(CommandLine& line, std::string& address);

// Parses the command line; for --help prints it; for wrong usage prints what is wrong. Otherwise
// calls `run` and prints its Error as "<the program's name>: <text>" on stderr. Returns the exit
// code.
int RunTool(CommandLine& line, int argc, const char* const* argv,
            const std::function<Result<void>()>& run);

// Indented, with a newline; ASCII only, other characters as \u escapes, so that a name cannot steer
// the terminal. Bytes that are not UTF-8 are replaced rather than thrown at the caller.
std::string JsonText(const nlohmann::json& value);
// The same on one line.
std::string JsonLine(const nlohmann::json& value);

}  // namespace nrtd::client
