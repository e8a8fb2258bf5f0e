// SPDX-License-Identifier: Apache-2.0
#include "tools/neuron_top/snapshot.h"

#include <algorithm>

#include "tools/client/table.h"

namespace nrtd::top {
namespace {

using nlohmann::json;

double PercentOf(const std::map<uint32_t, double>& utilization, uint32_t virtual_core) {
  const auto entry = utilization.find(virtual_core);
  return entry == utilization.end() ? 0 : entry->second;
}

// A core works for the network that runs on it; the others of its group wait.
double PercentOf(const std::map<uint32_t, double>& utilization, const v1::Network& network,
                 const v1::Subgraph& subgraph) {
  if (subgraph.on_host() || network.state() != v1::NETWORK_STATE_RUNNING) return 0;
  return PercentOf(utilization, subgraph.virtual_core());
}

std::string ExecUnit(const v1::Subgraph& subgraph) {
  if (subgraph.on_host()) return "host";
  return fmt::format("{}:{}", subgraph.device_bdf(), subgraph.core_index());
}

size_t CountRunning(const v1::ListNetworksResponse& networks) {
  const auto& all = networks.networks();
  return static_cast<size_t>(std::count_if(all.begin(), all.end(), [](const auto& network) {
    return network.state() == v1::NETWORK_STATE_RUNNING;
  }));
}

std::string DeviceLine(const v1::Device& device, const std::map<uint32_t, double>& utilization) {
  std::string line = FormatText("{} Utilizations:", device.bdf());
  for (const v1::Core& core : device.cores()) {
    line += fmt::format(" Neuron core{} {:.2f}%,", core.core_index(),
                        PercentOf(utilization, core.virtual_core()));
  }
  if (device.simulated()) {
    line += device.instance_type().empty() ? " [SIMULATED]"
                                           : FormatText(" [SIMULATED {}]", device.instance_type());
  }
  return line;
}

json DeviceJson(const v1::Device& device, const std::map<uint32_t, double>& utilization) {
  json cores = json::array();
  for (const v1::Core& core : device.cores()) {
    cores.push_back({{"nc_index", core.core_index()},
                     {"vnc", core.virtual_core()},
                     {"utilization_percent", PercentOf(utilization, core.virtual_core())},
                     {"ncg_id", core.group_id()},
                     {"model_id", core.network_id()}});
  }
  json channels = json::array();
  for (const v1::DramChannel& channel : device.channels()) {
    channels.push_back(
        {{"total_bytes", channel.total_bytes()}, {"used_bytes", channel.used_bytes()}});
  }
  return {{"index", device.index()},
          {"bdf", device.bdf()},
          {"simulated", device.simulated()},
          {"instance_type", device.instance_type()},
          {"dram_channels", std::move(channels)},
          {"cores", std::move(cores)}};
}

}  // namespace

Result<Sample> TakeSample(client::Daemon& daemon, Clock& clock) {
  Sample sample;
  NRTD_ASSIGN(sample.devices, daemon.ListDevices());
  NRTD_ASSIGN(sample.networks, daemon.ListNetworks());
  for (const v1::Device& device : sample.devices.devices()) {
    for (const v1::Core& core : device.cores()) {
      NRTD_ASSIGN(const uint64_t busy_ns, daemon.CoreBusyNs(core.virtual_core()));
      sample.cores[core.virtual_core()] = {clock.Now(), busy_ns};
    }
  }
  return sample;
}

std::map<uint32_t, double> Utilization(const Sample& before, const Sample& after) {
  std::map<uint32_t, double> utilization;
  for (const auto& [core, now] : after.cores) {
    const auto then = before.cores.find(core);
    if (then == before.cores.end()) continue;
    const auto elapsed_ns = (now.at - then->second.at).count();
    double percent = 0;
    if (elapsed_ns > 0 && now.busy_ns > then->second.busy_ns) {
      percent = 100.0 * static_cast<double>(now.busy_ns - then->second.busy_ns) /
                static_cast<double>(elapsed_ns);
    }
    utilization[core] = std::min(percent, 100.0);
  }
  return utilization;
}

std::string SnapshotText(const Sample& after, const std::map<uint32_t, double>& utilization,
                         const std::string& time) {
  std::string text = fmt::format(
      "neuron-top - {}\nNN Models: {} total, {} running\nNumber of VNCs tracked: {}\n\n", time,
      after.networks.networks_size(), CountRunning(after.networks), after.cores.size());
  for (const v1::Device& device : after.devices.devices())
    text += DeviceLine(device, utilization) + "\n";
  client::Table table({{{"Model ID"}},
                       {{"Model Name"}},
                       {{"UUID"}},
                       {{"Node ID"}},
                       {{"Subgraph"}},
                       {{"Exec. Unit"}},
                       {{"Host Mem"}},
                       {{"Device Mem"}},
                       {{"Neuron core %"}}});
  for (const v1::Network& network : after.networks.networks()) {
    for (const v1::Subgraph& subgraph : network.subgraphs()) {
      table.AddRow({fmt::to_string(network.id()), network.name(), network.uuid(),
                    fmt::to_string(subgraph.node_id()), fmt::to_string(subgraph.subgraph_index()),
                    ExecUnit(subgraph), fmt::to_string(subgraph.host_bytes()),
                    fmt::to_string(subgraph.device_bytes()),
                    fmt::format("{:.2f}", PercentOf(utilization, network, subgraph))});
    }
  }
  return text + "\n" + table.Plain();
}

json SnapshotJson(const Sample& after, const std::map<uint32_t, double>& utilization,
                  const std::string& time) {
  json devices = json::array();
  for (const v1::Device& device : after.devices.devices())
    devices.push_back(DeviceJson(device, utilization));
  json rows = json::array();
  for (const v1::Network& network : after.networks.networks()) {
    for (const v1::Subgraph& subgraph : network.subgraphs()) {
      rows.push_back({{"model_id", network.id()},
                      {"model_name", network.name()},
                      {"uuid", network.uuid()},
                      {"node_id", subgraph.node_id()},
                      {"subgraph", subgraph.subgraph_index()},
                      {"exec_unit", ExecUnit(subgraph)},
                      {"host_bytes", subgraph.host_bytes()},
                      {"device_bytes", subgraph.device_bytes()},
                      {"utilization_percent", PercentOf(utilization, network, subgraph)}});
    }
  }
  return {{"time", time},
          {"models_total", after.networks.networks_size()},
          {"models_running", CountRunning(after.networks)},
          {"vncs", after.cores.size()},
          {"host_pool_total_bytes", after.devices.host_pool_total_bytes()},
          {"host_pool_used_bytes", after.devices.host_pool_used_bytes()},
          {"devices", std::move(devices)},
          {"subgraphs", std::move(rows)}};
}

}  // namespace nrtd::top
