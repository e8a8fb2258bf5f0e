// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <vector>

#include <CLI/CLI.hpp>

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

void AddLoad(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("load", "Load compiled networks (NEFF files)");
  const auto arguments = std::make_shared<LoadArguments>();
  client::LoadOptions& options = arguments->options;
  command->add_option("NEFF", arguments->neff_paths, "Files made by neuron-cc")->required();
  command->add_option("--ncg-id", options.group_id,
                      "Load into this NeuronCore group, without starting [a group of its own]");
  command->add_option("--session-id", options.session_id,
                      "Unload with this session, which another client holds open");
  command->add_option("--ninfer", options.ninfer, "Inferences in flight at most [daemon's default]")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--timeout", options.timeout_s,
                   "Seconds an inference may take [daemon's default]")
      ->check(CLI::PositiveNumber);
  command->add_flag("--enable-direct-file-load", options.by_path,
                    "Let the daemon read the files by their absolute paths");
  command->add_flag("--json", arguments->json, "Print JSON");
  command->callback([&invocation, arguments] {
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

void AddModelAction(CLI::App& app, Invocation& invocation, const ModelAction& action) {
  CLI::App* command = app.add_subcommand(action.name, action.description);
  const auto id = std::make_shared<uint32_t>(0);
  command->add_option("MODEL_ID", *id, "As in list-model")->required();
  command->callback([&invocation, id, action] {
    invocation.run = [&invocation, id, action]() -> Result<void> {
      NRTD_ASSIGN(client::Daemon daemon, ConnectTo(invocation));
      NRTD_TRY((daemon.*action.call)(*id));
      fmt::print("{} model {}\n", action.done, *id);
      return {};
    };
  });
}

void AddListModel(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("list-model", "Show the loaded models");
  const auto as_json = std::make_shared<bool>(false);
  command->add_flag("--json", *as_json,
                    "Print JSON, which also has tensors, subgraphs and counters");
  command->callback([&invocation, as_json] {
    invocation.run = [&invocation, as_json]() -> Result<void> {
      NRTD_ASSIGN(client::Daemon daemon, ConnectTo(invocation));
      NRTD_ASSIGN(const v1::ListNetworksResponse networks, daemon.ListNetworks());
      fmt::print("{}", *as_json ? client::JsonText(ModelJson(networks)) : ModelTable(networks));
      return {};
    };
  });
}

}  // namespace

void AddModelCommands(CLI::App& app, Invocation& invocation) {
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
