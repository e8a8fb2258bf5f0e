// SPDX-License-Identifier: Apache-2.0
#include "tools/client/tool.h"
#include "tools/neuron_cli/command.h"

int main(int argc, char** argv) {
  nrtd::CommandLine app("Loads, runs and lists networks on a neuron-rtd daemon.", "neuron-cli");
  nrtd::cli::Invocation invocation;
  nrtd::client::AddAddressOption(app, invocation.address);
  app.RequireCommand();
  nrtd::cli::AddModelCommands(app, invocation);
  nrtd::cli::AddInferCommand(app, invocation);
  nrtd::cli::AddGroupCommands(app, invocation);
  nrtd::cli::AddDaemonCommands(app, invocation);
  app.AllowOptionsBehindCommands("-a/--address may stand here too; see neuron-cli --help.");
  return nrtd::client::RunTool(app, argc, argv, [&] { return invocation.run(); });
}
