// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <vector>

#include "tools/client/tool.h"
#include "tools/neuron_cli/command.h"
#include "tools/neuron_cli/listing.h"

namespace nrtd::cli {
namespace {

struct LoadArguments {
  std::vector<std::string> neff_paths;
  client::LoadOptions options;  // of every NEFF; its path is filled in one by one
  bool json = false;
};

Result<void> Load(const Invocation& invocation, const LoadArguments& arguments) {
  NRTD_ASSIGN(client::Daemon daemon, ConnectTo(invocation));
  nlohmann::json models = nlohmann::json::array();
  Result<void> outcome;
  for (const std::string& path : arguments.neff_paths) {
    client::LoadOptions options = arguments.options;
    options.neff_path = path;
    const auto id = daemon.Load(options);
    if (!id) {
      outcome = tl::unexpected<Error>(id.error());
      break;
    }
    models.push_back({{"model_id", *id}, {"neff", path}});
    if (!arguments.json) fmt::print("Loaded {} as model {}\n", path, *id);
  }
  // Also after a failure: whoever reads this must know what is loaded.
  if (arguments.json) fmt::print("{}", client::JsonText({{"models", std::move(models)}}));
  return outcome;
}

void AddLoad(CommandLine& app, Invocation& invocation) {
  CommandLine& command = app.AddCommand("load", "Load compiled networks (NEFF files)");
  const auto arguments = std::make_shared<LoadArguments>();
  client::LoadOptions& options = arguments->options;
  command.AddOption("NEFF", &arguments->neff_paths, "Files made by neuron-cc").Required();
  command.AddOption("--ncg-id", &options.group_id,
                    "Load into this NeuronCore group, without starting [a group of its own]");
  command.AddOption("--session-id", &options.session_id,
                    "Unload with this session, which another client holds open");
  command.AddOption("--ninfer", &options.ninfer, "Inferences in flight at most [daemon's default]")
      .Positive();
  command
      .AddOption("--timeout", &options.timeout_s,
                 "Seconds an inference may take [daemon's default]")
      .Positive();
  command.AddFlag("--enable-direct-file-load", &options.by_path,
                  "Let the daemon read the files by their absolute paths");
  command.AddFlag("--json", &arguments->json, "Print JSON");
  command.OnGiven([&invocation, arguments] {
    invocation.run = [&invocation, arguments] { return Load(invocation, *arguments); };
  });
}

// A subcommand that takes a model's id and makes one call with it.
struct ModelAction {
  const char* name;
  const char* description;
  Result<void> (client::Daemon::*call)(uint32_t network_id);
  const char* done;
};

void AddModelAction(CommandLine& app, Invocation& invocation, const ModelAction& action) {
  CommandLine& command = app.AddCommand(action.name, action.description);
  const auto id = std::make_shared<uint32_t>(0);
  command.AddOption("MODEL_ID", id.get(), "As in list-model").Required();
  command.OnGiven([&invocation, id, action] {
    invocation.run = [&invocation, id, action]() -> Result<void> {
      NRTD_ASSIGN(client::Daemon daemon, ConnectTo(invocation));
      NRTD_TRY((daemon.*action.call)(*id));
      fmt::print("{} model {}\n", action.done, *id);
      return {};
    };
  });
}

void AddListModel(CommandLine& app, Invocation& invocation) {
  CommandLine& command = app.AddCommand("list-model", "Show the loaded models");
  const auto as_json = std::make_shared<bool>(false);
  command.AddFlag("--json", as_json.get(),
                  "Print JSON, which also has tensors, subgraphs and counters");
  command.OnGiven([&invocation, as_json] {
    invocation.run = [&invocation, as_json]() -> Result<void> {
      NRTD_ASSIGN(client::Daemon daemon, ConnectTo(invocation));
      NRTD_ASSIGN(const v1::ListNetworksResponse networks, daemon.ListNetworks());
      fmt::print("{}", *as_json ? client::JsonText(ModelJson(networks)) : ModelTable(networks));
      return {};
    };
  });
}

}  // namespace

void AddModelCommands(CommandLine& app, Invocation& invocation) {
  AddLoad(app, invocation);
  AddModelAction(app, invocation,
                 {"unload", "Unload a model", &client::Daemon::Unload, "Unloaded"});
  AddModelAction(
      app, invocation,
      {"start", "Make a model the running one of its group", &client::Daemon::Start, "Started"});
  AddModelAction(
      app, invocation,
      {"stop", "Take a model off its cores; it stays loaded", &client::Daemon::Stop, "Stopped"});
  AddListModel(app, invocation);
}

}  // namespace nrtd::cli
