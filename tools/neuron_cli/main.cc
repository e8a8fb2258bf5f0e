// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>

#include "tools/client/tool.h"
#include "tools/neuron_cli/command.h"

int main(int argc, char** argv) {
  CLI::App app("Loads, runs and lists networks on a neuron-rtd daemon.", "neuron-cli");
  nrtd::cli::Invocation invocation;
  nrtd::client::AddAddressOption(app, invocation.address);
  // Lets -a stand behind the subcommand too.
  app.fallthrough();
  app.require_subcommand(1);
  nrtd::cli::AddModelCommands(app, invocation);
  nrtd::cli::AddInferCommand(app, invocation);
  nrtd::cli::AddGroupCommands(app, invocation);
  nrtd::cli::AddDaemonCommands(app, invocation);
  for (CLI::App* command : app.get_subcommands({}))
    command->footer("-a/--address may stand here too; see neuron-cli --help.");
  return nrtd::client::RunTool(app, argc, argv, [&] { return invocation.run(); });
}
