// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "tools/client/tool.h"
#include "tools/neuron_cli/command.h"
#include "tools/neuron_cli/listing.h"

namespace nrtd::cli {
namespace {

void AddListNcg(CommandLine& app, Invocation& invocation) {
  CommandLine& command = app.AddCommand("list-ncg", "Show the NeuronCore groups");
  const auto json = std::make_shared<bool>(false);
  command.AddFlag("--json", json.get(), "Print JSON");
  command.OnGiven([&invocation, json] {
    invocation.run = [&invocation, json]() -> Result<void> {
      NRTD_ASSIGN(client::Daemon daemon, ConnectTo(invocation));
      NRTD_ASSIGN(const nrt::out_list_egs groups, daemon.ListGroups());
      fmt::print("{}", *json ? client::JsonText(GroupJson(groups)) : GroupTable(groups));
      return {};
    };
  });
}

void AddCreateNcg(CommandLine& app, Invocation& invocation) {
  struct Arguments {
    uint32_t core_count = 0;
    bool json = false;
  };
  CommandLine& command = app.AddCommand("create-ncg", "Make a group of neighbouring NeuronCores");
  const auto arguments = std::make_shared<Arguments>();
  command.AddOption("--nc-count", &arguments->core_count,
                    "How many cores [the largest run of free ones]");
  command.AddFlag("--json", &arguments->json, "Print JSON");
  command.OnGiven([&invocation, arguments] {
    invocation.run = [&invocation, arguments]() -> Result<void> {
      NRTD_ASSIGN(client::Daemon daemon, ConnectTo(invocation));
      NRTD_ASSIGN(const auto group, daemon.CreateGroup(arguments->core_count));
      if (arguments->json) {
        fmt::print("{}", client::JsonText(
                             {{"ncg_id", group.h_eg().id()}, {"nc_count", group.nc_count()}}));
      } else {
        fmt::print("Created NCG {} of {} NCs\n", group.h_eg().id(), group.nc_count());
      }
      return {};
    };
  });
}

void AddDestroyNcg(CommandLine& app, Invocation& invocation) {
  CommandLine& command = app.AddCommand("destroy-ncg", "Free a group that holds no models");
  const auto id = std::make_shared<uint32_t>(0);
  command.AddOption("NCG_ID", id.get(), "As in list-ncg").Required();
  command.OnGiven([&invocation, id] {
    invocation.run = [&invocation, id]() -> Result<void> {
      NRTD_ASSIGN(client::Daemon daemon, ConnectTo(invocation));
      NRTD_TRY(daemon.DestroyGroup(*id));
      fmt::print("Destroyed NCG {}\n", *id);
      return {};
    };
  });
}

}  // namespace

void AddGroupCommands(CommandLine& app, Invocation& invocation) {
  AddListNcg(app, invocation);
  AddCreateNcg(app, invocation);
  AddDestroyNcg(app, invocation);
}

}  // namespace nrtd::cli
