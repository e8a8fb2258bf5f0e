// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/control_service.h"

#include <algorithm>

#include <unistd.h>

#include "base/log.h"
#include "base/printable.h"
#include "runtime/service/status.h"
#include "runtime/service/version.h"

namespace nrtd::service {
namespace {

using runtime::NetworkState;

nrtd::v1::NetworkState ToProto(NetworkState state) {
  switch (state) {
    case NetworkState::kLoading:
      return nrtd::v1::NETWORK_STATE_LOADING;
    case NetworkState::kStandby:
      return nrtd::v1::NETWORK_STATE_STANDBY;
    case NetworkState::kStarting:
      return nrtd::v1::NETWORK_STATE_STARTING;
    case NetworkState::kRunning:
      return nrtd::v1::NETWORK_STATE_RUNNING;
    case NetworkState::kStopping:
      return nrtd::v1::NETWORK_STATE_STOPPING;
    case NetworkState::kFailed:
      return nrtd::v1::NETWORK_STATE_FAILED;
    case NetworkState::kUnloading:
      return nrtd::v1::NETWORK_STATE_UNLOADING;
  }
  return nrtd::v1::NETWORK_STATE_UNSPECIFIED;
}

void SetVersionInfo(const runtime::VersionInfo& info, nrt::version* out) {
  out->set_full_version(info.full);
  out->set_major_num(info.major);
  out->set_minor_num(info.minor);
}

void DescribeTensor(const runtime::TensorPort& port, nrtd::v1::Tensor* out) {
  out->set_name(port.name);
  out->set_dtype(std::string(DTypeName(port.dtype)));
  for (int64_t dimension : port.shape) out->add_shape(dimension);
  out->set_bytes(port.bytes);
  out->set_batch(port.batch);
}

void Describe(const runtime::Network& network, runtime::Machine& machine, nrtd::v1::Network* out) {
  const runtime::NetworkInfo& info = network.info();
  out->set_id(info.id);
  out->set_name(info.name);
  out->set_uuid(info.uuid);
  out->set_state(ToProto(network.state()));
  out->set_state_reason(network.failure());
  out->set_session_id(info.owner.session < runtime::kFirstConnection ? info.owner.session : 0);
  out->set_group_id(info.group);
  out->set_ninfer(info.params.ninfer);
  out->set_slots_in_use(network.slots_in_use());
  out->set_timeout_ms(static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(info.params.timeout).count()));
  out->set_inferences_done(network.inferences_done());
  out->set_inferences_ns(network.inferences_ns());
  out->set_inferences_failed(network.inferences_failed());
  out->set_core_count(static_cast<uint32_t>(network.stages().size()));
  for (const auto& stage : network.stages()) {
    const CoreId core = stage->channel().core().id();
    nrtd::v1::Subgraph* subgraph = out->add_subgraphs();
    subgraph->set_node_id(stage->options().node);
    subgraph->set_subgraph_index(stage->options().index);
    subgraph->set_device_index(core.device);
    subgraph->set_device_bdf(machine.unit(core.device).device->info().bdf);
    subgraph->set_core_index(core.core);
    subgraph->set_virtual_core(stage->options().core);
    // Slots serve all stages; they are shown with the first.
    subgraph->set_host_bytes(
        stage == network.stages().front() ? network.slot_bytes() * info.params.ninfer : 0);
    subgraph->set_device_bytes(stage->dram_bytes());
  }
  for (const auto& node : network.host_nodes()) {
    nrtd::v1::Subgraph* subgraph = out->add_subgraphs();
    subgraph->set_node_id(node->index());
    subgraph->set_on_host(true);
    if (network.stages().empty() && node == network.host_nodes().front())
      subgraph->set_host_bytes(network.slot_bytes() * info.params.ninfer);
  }
  for (const auto& port : network.inputs()) DescribeTensor(port, out->add_inputs());
  for (const auto& port : network.outputs()) DescribeTensor(port, out->add_outputs());
}

void DescribeDevice(runtime::Runtime& runtime, uint32_t index, nrtd::v1::Device* out) {
  runtime::Machine& machine = runtime.machine();
  const runtime::DeviceUnit& unit = machine.unit(index);
  const DeviceInfo& info = unit.device->info();
  out->set_index(index);
  out->set_bdf(info.bdf);
  out->set_simulated(info.simulated);
  out->set_instance_type(machine.platform().instance());
  for (uint32_t neighbour : info.connected) out->add_connected_devices(neighbour);
  out->set_core_count(info.cores);
  for (const auto& channel : unit.channels) {
    nrtd::v1::DramChannel* dram = out->add_channels();
    dram->set_total_bytes(channel.size());
    dram->set_used_bytes(channel.used_bytes());
  }
  const auto groups = runtime.ListGroups();
  for (const uint32_t c : machine.cores()) {
    Core& source = machine.channel(c).core();
    if (source.id().device != index) continue;
    const CoreCounters counters = source.counters();
    nrtd::v1::Core* core = out->add_cores();
    core->set_core_index(source.id().core);
    core->set_virtual_core(c);
    core->set_busy_ns(counters.busy_ns);
    for (const auto& engine : counters.engine)
      core->set_instructions(core->instructions() + engine.instructions);
    for (const auto& group : groups) {
      if (c < group.cores.first || c >= group.cores.first + group.cores.count) continue;
      core->set_group_id(group.id);
      core->set_network_id(group.running);
    }
  }
}

}  // namespace

grpc::Status ControlService::ListNetworks(CallContext*, const nrtd::v1::ListNetworksRequest*,
                                          nrtd::v1::ListNetworksResponse* response) {
  runtime::Runtime* const runtime = runtime_.get();
  if (runtime == nullptr) return Refuse(runtime_.reason(), response);
  for (const auto& network : runtime->ListNetworks())
    Describe(*network, runtime->machine(), response->add_networks());
  SetOk(response->mutable_status());
  return grpc::Status::OK;
}

grpc::Status ControlService::ListSessions(CallContext*, const nrtd::v1::ListSessionsRequest*,
                                          nrtd::v1::ListSessionsResponse* response) {
  runtime::Runtime* const runtime = runtime_.get();
  std::vector<std::shared_ptr<runtime::Network>> networks;
  std::vector<scheduler::GroupInfo> groups;
  if (runtime != nullptr) {
    networks = runtime->ListNetworks();
    groups = runtime->ListGroups();
  }
  for (const auto& info : sessions_.List()) {
    nrtd::v1::Session* session = response->add_sessions();
    session->set_id(info.id);
    session->set_connection_id(info.client.connection);
    session->set_pid(info.client.peer.pid);
    session->set_uid(info.client.peer.uid);
    session->set_framework_name(info.framework);
    SetVersionInfo(info.framework_version, session->mutable_framework_version());
    SetVersionInfo(info.client_version, session->mutable_fal_version());
    for (const auto& network : networks) {
      if (network->info().owner.session == info.id) session->add_network_ids(network->info().id);
    }
    for (const auto& group : groups) {
      if (group.owner.session == info.id) session->add_group_ids(group.id);
    }
    if (runtime == nullptr) continue;
    for (const auto& path : runtime->shared_memory().PathsOf(info.id)) session->add_mappings(path);
  }
  SetOk(response->mutable_status());
  return grpc::Status::OK;
}

grpc::Status ControlService::ListClients(CallContext*, const nrtd::v1::ListClientsRequest*,
                                         nrtd::v1::ListClientsResponse* response) {
  const auto sessions = sessions_.List();
  for (const auto& client : sessions_.Clients()) {
    nrtd::v1::Client* out = response->add_clients();
    out->set_connection_id(client.connection);
    out->set_pid(client.peer.pid);
    out->set_uid(client.peer.uid);
    out->set_gid(client.peer.gid);
    out->set_cgroup(client.peer.cgroup);
    out->set_client_id(client.process);
    for (const auto& session : sessions) {
      if (session.client.connection == client.connection) out->add_session_ids(session.id);
    }
  }
  DescribeAccounts(response);
  SetOk(response->mutable_status());
  return grpc::Status::OK;
}

// Cores are counted by their groups, and everything else by the ledger.
void ControlService::DescribeAccounts(nrtd::v1::ListClientsResponse* response) const {
  using runtime::Holding;
  const runtime::Ledger& ledger = sessions_.ledger();
  runtime::Runtime* const runtime = runtime_.get();
  const auto groups =
      runtime != nullptr ? runtime->ListGroups() : std::vector<scheduler::GroupInfo>();
  const auto describe = [](nrtd::v1::Holding* out, Holding holding, uint64_t amount,
                           uint64_t limit) {
    out->set_name(std::string(runtime::HoldingName(holding)));
    out->set_amount(amount);
    out->set_limit(limit);
  };
  uint64_t all_cores = 0;
  for (const auto& group : groups) all_cores += group.cores.count;
  for (const auto& account : ledger.List()) {
    nrtd::v1::Account* out = response->add_accounts();
    out->set_client_id(account->id());
    out->set_name(account->name());
    out->set_refusals(account->refusals());
    uint64_t cores = 0;
    for (const auto& group : groups)
      cores += group.owner.process == account->id() ? group.cores.count : 0;
    for (size_t i = 0; i < runtime::kHoldings; ++i) {
      const auto holding = static_cast<Holding>(i);
      describe(out->add_holdings(), holding,
               holding == Holding::kCores ? cores : account->counters().Of(holding),
               ledger.PerClient(holding));
    }
    if (runtime == nullptr) continue;
    for (const auto& path : runtime->shared_memory().PathsOfProcess(account->id()))
      out->add_mappings(Printable(path));
  }
  for (size_t i = 0; i < runtime::kHoldings; ++i) {
    const auto holding = static_cast<Holding>(i);
    describe(response->add_totals(), holding,
             holding == Holding::kCores ? all_cores : ledger.totals().Of(holding),
             ledger.limits().Total(holding));
  }
}

grpc::Status ControlService::Evict(CallContext* context, const nrtd::v1::EvictRequest* request,
                                   nrtd::v1::EvictResponse* response) {
  const auto evict = [&]() -> Result<void> {
    if (!rules_.IsOperator(context->client())) {
      return Fail(Nerr::kInvalid,
                  "{} may not evict clients: root, the daemon's user and operators may "
                  "(--operator-uid, --operator-gid)",
                  context->client().Text());
    }
    const auto accounts = sessions_.ledger().List();
    const auto found = std::find_if(accounts.begin(), accounts.end(), [&](const auto& account) {
      return account->id() == request->client_id();
    });
    if (found == accounts.end() || request->client_id() == runtime::kAnyProcess) {
      return Fail(Nerr::kInvalidHandle, "Failed to find client: {}; see neuron-cli list-clients",
                  request->client_id());
    }
    Log(LogLevel::kWarning, "NMGR:Evict", "{} evicts {}", context->client().Text(),
        AsIs((*found)->name()));
    evict_(request->client_id());
    return {};
  };
  SetStatus(evict(), response->mutable_status());
  return grpc::Status::OK;
}

grpc::Status ControlService::ListDevices(CallContext*, const nrtd::v1::ListDevicesRequest*,
                                         nrtd::v1::ListDevicesResponse* response) {
  runtime::Runtime* const runtime = runtime_.get();
  if (runtime == nullptr) return Refuse(runtime_.reason(), response);
  runtime::Machine& machine = runtime->machine();
  for (const uint32_t device : machine.devices())
    DescribeDevice(*runtime, device, response->add_devices());
  const memory::PoolStats stats = machine.pool().Stats();
  response->set_host_pool_total_bytes(stats.total_bytes);
  response->set_host_pool_used_bytes(stats.used_bytes);
  response->set_precision_note(machine.platform().precision());
  SetOk(response->mutable_status());
  return grpc::Status::OK;
}

grpc::Status ControlService::Health(CallContext*, const nrtd::v1::HealthRequest*,
                                    nrtd::v1::HealthResponse* response) {
  SetVersion(response->mutable_version());
  response->set_uptime_ms(
      static_cast<uint64_t>((clock_.Now() - started_) / std::chrono::milliseconds(1)));
  response->set_pid(::getpid());
  response->set_address(address_);
  runtime::Runtime* const runtime = runtime_.get();
  if (runtime == nullptr) {
    const Error reason = runtime_.reason();
    response->set_state("failed");
    response->set_reason(PrintableText(reason.text, kMaxDetailsBytes));
    return Refuse(reason, response);
  }
  runtime::Machine& machine = runtime->machine();
  std::string failed;
  for (const auto& network : runtime->ListNetworks()) {
    if (network->state() == NetworkState::kFailed)
      failed += fmt::format("{}{}", failed.empty() ? "" : ", ", network->info().id);
  }
  std::vector<std::string> reasons = machine.platform().unavailable();
  if (reasons.empty() && !runtime->has_all_devices())
    reasons.emplace_back("a device is being taken into service");
  if (!failed.empty()) reasons.push_back(fmt::format("failed models: {}", failed));
  response->set_state(reasons.empty() ? "ok" : "degraded");
  response->set_reason(PrintableText(fmt::to_string(fmt::join(reasons, "; ")), kMaxDetailsBytes));
  response->set_simulated(machine.platform().simulated());
  SetOk(response->mutable_status());
  return grpc::Status::OK;
}

}  // namespace nrtd::service
