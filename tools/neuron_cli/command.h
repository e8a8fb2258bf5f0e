// SPDX-License-Identifier: Apache-2.0
//
// The subcommands of neuron-cli. Each Add function declares one with its options; when it is the
// one that was typed, parsing leaves its work in `Invocation::run`.
#pragma once

#include <functional>
#include <string>

#include "base/command_line.h"
#include "base/error.h"
#include "tools/client/daemon.h"

namespace nrtd::cli {

struct Invocation {
  std::string address;  // -a; empty if not given
  std::function<Result<void>()> run;
};

// `invocation` outlives the parsing and the run.
void AddModelCommands(CommandLine& app, Invocation& invocation);
void AddInferCommand(CommandLine& app, Invocation& invocation);
void AddGroupCommands(CommandLine& app, Invocation& invocation);
void AddDaemonCommands(CommandLine& app, Invocation& invocation);

// The daemon that the invocation names.
Result<client::Daemon> ConnectTo(const Invocation& invocation,
                                 const client::ConnectOptions& options = {});

}  // namespace nrtd::cli
