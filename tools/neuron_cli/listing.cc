// SPDX-License-Identifier: Apache-2.0
#include "tools/neuron_cli/listing.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "base/sizes.h"
#include "tools/client/table.h"

namespace nrtd::cli {
namespace {

using client::Align;
using nlohmann::json;

struct Place {
  uint32_t device = 0;
  uint32_t core = 0;
};

// The first core of a network; zeros, as in the guide, if all of it runs on the host.
Place FirstCore(const v1::Network& network) {
  const v1::Subgraph* first = nullptr;
  for (const v1::Subgraph& subgraph : network.subgraphs()) {
    if (subgraph.on_host()) continue;
    if (first == nullptr || subgraph.virtual_core() < first->virtual_core()) first = &subgraph;
  }
  if (first == nullptr) return {};
  return {first->device_index(), first->core_index()};
}

std::vector<const v1::Network*> NewestFirst(const v1::ListNetworksResponse& response) {
  std::vector<const v1::Network*> networks;
  for (const v1::Network& network : response.networks()) networks.push_back(&network);
  std::stable_sort(networks.begin(), networks.end(),
                   [](const auto* a, const auto* b) { return a->id() > b->id(); });
  return networks;
}

json TensorsJson(const google::protobuf::RepeatedPtrField<v1::Tensor>& tensors) {
  json list = json::array();
  for (const v1::Tensor& tensor : tensors) {
    list.push_back({{"name", tensor.name()},
                    {"dtype", tensor.dtype()},
                    {"shape", std::vector<int64_t>(tensor.shape().begin(), tensor.shape().end())},
                    {"bytes", tensor.bytes()},
                    {"batch", tensor.batch()}});
  }
  return list;
}

json SubgraphsJson(const v1::Network& network) {
  json list = json::array();
  for (const v1::Subgraph& subgraph : network.subgraphs()) {
    json entry = {{"node_id", subgraph.node_id()},
                  {"subgraph", subgraph.subgraph_index()},
                  {"on_host", subgraph.on_host()},
                  {"host_bytes", subgraph.host_bytes()},
                  {"device_bytes", subgraph.device_bytes()}};
    if (!subgraph.on_host()) {
      entry["device_index"] = subgraph.device_index();
      entry["bdf"] = subgraph.device_bdf();
      entry["nc_index"] = subgraph.core_index();
      entry["vnc"] = subgraph.virtual_core();
    }
    list.push_back(std::move(entry));
  }
  return list;
}

}  // namespace

std::string ModelStatus(v1::NetworkState state) {
  if (state == v1::NETWORK_STATE_RUNNING) return "READY";
  constexpr std::string_view kPrefix = "NETWORK_STATE_";
  const std::string& name = v1::NetworkState_Name(state);
  if (!name.starts_with(kPrefix) || state == v1::NETWORK_STATE_UNSPECIFIED) return "UNKNOWN";
  return name.substr(kPrefix.size());
}

std::string ModelTable(const v1::ListNetworksResponse& networks) {
  client::Table table({{{"UUID"}},
                       {{"MODEL ID"}, Align::kRight},
                       {{"MODEL STATUS"}},
                       {{"NEURON DEVICE", "START INDEX"}, Align::kRight},
                       {{"NC", "INDEX"}, Align::kRight},
                       {{"NC", "COUNT"}, Align::kRight},
                       {{"NAME"}}});
  for (const v1::Network* network : NewestFirst(networks)) {
    const Place place = FirstCore(*network);
    table.AddRow({network->uuid(), fmt::to_string(network->id()), ModelStatus(network->state()),
                  fmt::to_string(place.device), fmt::to_string(place.core),
                  fmt::to_string(network->core_count()), network->name()});
  }
  return table.Framed();
}

json ModelJson(const v1::ListNetworksResponse& networks) {
  json models = json::array();
  for (const v1::Network* network : NewestFirst(networks)) {
    const Place place = FirstCore(*network);
    models.push_back({{"model_id", network->id()},
                      {"uuid", network->uuid()},
                      {"name", network->name()},
                      {"status", ModelStatus(network->state())},
                      {"status_reason", network->state_reason()},
                      {"device_start_index", place.device},
                      {"nc_index", place.core},
                      {"nc_count", network->core_count()},
                      {"ncg_id", network->group_id()},
                      {"session_id", network->session_id()},
                      {"ninfer", network->ninfer()},
                      {"inferences_in_flight", network->slots_in_use()},
                      {"timeout_ms", network->timeout_ms()},
                      {"inferences_done", network->inferences_done()},
                      {"inferences_ns", network->inferences_ns()},
                      {"inferences_failed", network->inferences_failed()},
                      {"inputs", TensorsJson(network->inputs())},
                      {"outputs", TensorsJson(network->outputs())},
                      {"subgraphs", SubgraphsJson(*network)}});
  }
  return {{"models", std::move(models)}};
}

namespace {

constexpr uint64_t kNoLimit = ~uint64_t{0};

std::string AmountText(const v1::Holding& holding, uint64_t amount) {
  if (amount == kNoLimit) return "-";
  return holding.name().ends_with("-bytes") ? HumanBytes(amount) : fmt::to_string(amount);
}

// What a client holds of each kind that it holds anything of: "mappings 3 of 512".
std::string HoldingsText(const v1::Account& account) {
  std::vector<std::string> parts;
  for (const v1::Holding& holding : account.holdings()) {
    if (holding.amount() == 0) continue;
    std::string part = fmt::format("{} {}", holding.name(), AmountText(holding, holding.amount()));
    if (holding.limit() != kNoLimit) part += " of " + AmountText(holding, holding.limit());
    parts.push_back(std::move(part));
  }
  return fmt::to_string(fmt::join(parts, ", "));
}

json HoldingsJson(const google::protobuf::RepeatedPtrField<v1::Holding>& holdings) {
  json out = json::object();
  for (const v1::Holding& holding : holdings) {
    json entry = {{"amount", holding.amount()}};
    if (holding.limit() != kNoLimit) entry["limit"] = holding.limit();
    out[holding.name()] = std::move(entry);
  }
  return out;
}

}  // namespace

std::string ClientTable(const v1::ListClientsResponse& clients) {
  client::Table connections({{{"PID"}, Align::kRight},
                             {{"UID"}, Align::kRight},
                             {{"GID"}, Align::kRight},
                             {{"CLIENT"}, Align::kRight},
                             {{"SESSIONS"}},
                             {{"CGROUP"}}});
  for (const v1::Client& known : clients.clients()) {
    // No pid: it lives in a pid namespace that the daemon does not see.
    connections.AddRow({known.pid() != 0 ? fmt::to_string(known.pid()) : "?",
                        fmt::to_string(known.uid()), fmt::to_string(known.gid()),
                        fmt::to_string(known.client_id()),
                        fmt::to_string(fmt::join(known.session_ids(), ", ")), known.cgroup()});
  }
  if (clients.accounts().empty()) return connections.Framed();
  client::Table accounts(
      {{{"CLIENT"}, Align::kRight}, {{"NAME"}}, {{"HOLDS"}}, {{"REFUSED"}, Align::kRight}});
  for (const v1::Account& account : clients.accounts()) {
    accounts.AddRow({fmt::to_string(account.client_id()), account.name(), HoldingsText(account),
                     fmt::to_string(account.refusals())});
  }
  return connections.Framed() + accounts.Framed();
}

json ClientJson(const v1::ListClientsResponse& clients) {
  json list = json::array();
  for (const v1::Client& known : clients.clients()) {
    list.push_back({{"connection_id", known.connection_id()},
                    {"pid", known.pid()},
                    {"uid", known.uid()},
                    {"gid", known.gid()},
                    {"cgroup", known.cgroup()},
                    {"client_id", known.client_id()},
                    {"session_ids", std::vector<uint64_t>(known.session_ids().begin(),
                                                          known.session_ids().end())}});
  }
  json accounts = json::array();
  for (const v1::Account& account : clients.accounts()) {
    accounts.push_back({{"client_id", account.client_id()},
                        {"name", account.name()},
                        {"holdings", HoldingsJson(account.holdings())},
                        {"mappings", std::vector<std::string>(account.mappings().begin(),
                                                              account.mappings().end())},
                        {"refusals", account.refusals()}});
  }
  return {{"clients", std::move(list)},
          {"accounts", std::move(accounts)},
          {"totals", HoldingsJson(clients.totals())}};
}

std::string GroupTable(const nrt::out_list_egs& groups) {
  client::Table table({{{"NCG ID"}, Align::kRight},
                       {{"NC COUNT"}, Align::kRight},
                       {{"DEVICE START INDEX"}, Align::kRight},
                       {{"NC START INDEX"}, Align::kRight}});
  for (const nrt::eg_info& group : groups.eg_info()) {
    table.AddRow({fmt::to_string(group.eg().id()), fmt::to_string(group.nc_count()),
                  fmt::to_string(group.mla_start_index()), fmt::to_string(group.nc_start_index())});
  }
  return fmt::format("Device count {} NC count {}\nFound {} NCG's\n{}", groups.mla_count(),
                     groups.nc_count(), groups.eg_info_size(), table.Framed());
}

json GroupJson(const nrt::out_list_egs& groups) {
  json list = json::array();
  for (const nrt::eg_info& group : groups.eg_info()) {
    list.push_back({{"ncg_id", group.eg().id()},
                    {"nc_count", group.nc_count()},
                    {"device_start_index", group.mla_start_index()},
                    {"nc_start_index", group.nc_start_index()},
                    {"vnc_start_index", group.vnc_start_index()}});
  }
  return {{"device_count", groups.mla_count()},
          {"nc_count", groups.nc_count()},
          {"ncgs", std::move(list)}};
}

}  // namespace nrtd::cli
