// SPDX-License-Identifier: Apache-2.0
#include "tools/client/daemon.h"

#include <atomic>
#include <utility>

#include <sys/mman.h>

#include "tools/client/address.h"
#include "tools/client/connection.h"
#include "tools/client/tool.h"

namespace nrtd::client {
namespace {

constexpr Duration kNoDeadline = Duration::max();
// More than kConnectTimeout: a tool gives up by that, the model server goes on.
constexpr int kConnectAttemptMs = 10'000;

grpc::ChannelArguments Arguments(bool own_connection) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  // The daemon is on this machine or in this pod: never through a proxy of the environment.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // A daemon that comes up is noticed within this, where gRPC's own back-off grows to minutes.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
  // Despite its name this is how long one attempt to connect may take: a daemon on a busy machine
  // may be slow to greet. One that is not there refuses at once.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectAttemptMs);
  if (own_connection) {
    // Channels of equal arguments share a connection, so these differ.
    static std::atomic<int> number{0};
    arguments.SetInt("nrtd.connection", ++number);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  }
  return arguments;
}

template <typename Stub, typename Request, typename Response>
using Method = grpc::Status (Stub::*)(grpc::ClientContext*, const Request&, Response*);

const nrt::status& StatusOf(const nrt::status& response) {
  return response;
}
template <typename Response>
const nrt::status& StatusOf(const Response& response) {
  return response.status();
}

// One call of a service of `connection`, to be made once.
struct Call {
  const Connection& connection;
  std::string_view name;
  Duration timeout = kListTimeout;

  template <typename Stub, typename Request, typename Response>
  Result<void> Into(Stub& stub, Method<Stub, Request, Response> method, const Request& request,
                    Response& response) const {
    grpc::ClientContext context;
    if (timeout != kNoDeadline) SetTimeout(context, timeout);
    NRTD_TRY(connection.CheckTransport(name, (stub.*method)(&context, request, &response)));
    return CheckStatus(name, StatusOf(response));
  }

  template <typename Stub, typename Request, typename Response>
  Result<Response> operator()(Stub& stub, Method<Stub, Request, Response> method,
                              const Request& request) const {
    Response response;
    NRTD_TRY(Into(stub, method, request, response));
    return response;
  }
};

template <typename Request>
Request WithNetwork(uint32_t network_id) {
  Request request;
  request.mutable_h_nn()->set_id(network_id);
  return request;
}

// gRPC wraps the reason: "failed to connect to all addresses; last error: UNKNOWN: <reason>".
std::string ConnectReason(const std::string& message) {
  std::string_view reason = message;
  for (const std::string_view wrapping : {"last error: ", "UNKNOWN: "}) {
    const size_t at = reason.find(wrapping);
    if (at != std::string_view::npos) reason.remove_prefix(at + wrapping.size());
  }
  return std::string(reason);
}

template <typename T>
Result<void> Discard(Result<T> result) {
  NRTD_TRY(std::move(result));
  return {};
}

}  // namespace

Result<void> Connection::CheckTransport(std::string_view call, const grpc::Status& status) const {
  switch (status.error_code()) {
    case grpc::StatusCode::OK:
      return {};
    case grpc::StatusCode::UNIMPLEMENTED:
      return Fail(Nerr::kUnsupportedVersion, "{}: the daemon at {} does not offer this call", call,
                  address);
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return Fail(Nerr::kTimeout, "{}: the daemon at {} did not answer in time", call, address);
    case grpc::StatusCode::UNAVAILABLE:
      Lose();
      return Fail(Nerr::kFail, "{}: lost the daemon at {}: {}", call, address,
                  status.error_message());
    default:
      return Fail(Nerr::kFail, "{}: gRPC error {} from {}: {}", call,
                  static_cast<int>(status.error_code()), address, status.error_message());
  }
}

Result<void> CheckStatus(std::string_view call, const nrt::status& status) {
  if (status.code() == 0) return {};
  const auto code = static_cast<Nerr>(status.code());
  if (status.details().empty())
    return Fail(code, "{}: {} ({})", call, NerrName(code), status.code());
  return Fail(code, "{}: {} ({}): {}", call, NerrName(code), status.code(),
              AsIs(PrintableText(status.details(), kMaxDaemonText)));
}

Daemon::Daemon(std::unique_ptr<Connection> connection) : connection_(std::move(connection)) {}
Daemon::Daemon(Daemon&&) noexcept = default;
Daemon& Daemon::operator=(Daemon&&) noexcept = default;
Daemon::~Daemon() = default;

bool Daemon::is_lost() const {
  return connection_->lost;
}

const std::string& Daemon::address() const {
  return connection_->address;
}

Result<Daemon> Daemon::Connect(const std::string& address, const ConnectOptions& options) {
  const auto channel = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(),
                                                 Arguments(options.own_connection));
  auto connection = std::make_unique<Connection>();
  connection->address = address;
  connection->nmgr = nrt::nmgr_v1::NewStub(channel);
  connection->control = v1::Control::NewStub(channel);
  connection->sessions = nrt::nmgr_session_manager::NewStub(channel);
  connection->raw = std::make_unique<grpc::GenericStub>(channel);
  connection->queue = options.queue;

  grpc::ClientContext context;
  context.set_wait_for_ready(options.wait_for_daemon);
  SetTimeout(context, options.timeout);
  nrt::get_version_response version;
  const grpc::Status status = connection->nmgr->get_version(&context, {}, &version);
  const bool answered = status.ok() || status.error_code() == grpc::StatusCode::UNIMPLEMENTED;
  if (answered) return Daemon(std::move(connection));
  if (const auto why = WhyNotPermitted(address))
    return Fail(Nerr::kFail, "cannot connect to {}: {}", address, *why);
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    return Fail(Nerr::kTimeout, "no daemon answered at {} within {:.3g} s; is neuron-rtd running?",
                address, std::chrono::duration<double>(options.timeout).count());
  }
  std::string reason = ConnectReason(status.error_message());
  if (const std::string prefix = address + ": "; reason.starts_with(prefix))
    reason.erase(0, prefix.size());
  return Fail(Nerr::kFail,
              "no daemon answers at {}: {}; start neuron-rtd, or set -a or NEURON_RTD_ADDRESS",
              address, reason);
}

Result<void> Daemon::Unload(uint32_t network_id) {
  return Discard(
      Call{*connection_, "unload", kNoDeadline}(*connection_->nmgr, &nrt::nmgr_v1::Stub::unload,
                                                WithNetwork<nrt::unload_request>(network_id)));
}

Result<void> Daemon::Start(uint32_t network_id) {
  return Discard(Call{*connection_, "start", kNoDeadline}(
      *connection_->nmgr, &nrt::nmgr_v1::Stub::start, WithNetwork<nrt::start_request>(network_id)));
}

Result<void> Daemon::Stop(uint32_t network_id) {
  return Discard(Call{*connection_, "stop", kNoDeadline}(
      *connection_->nmgr, &nrt::nmgr_v1::Stub::stop, WithNetwork<nrt::stop_request>(network_id)));
}

Result<uint64_t> Daemon::Post(const nrt::infer_request& request) {
  nrt::infer_post_response response;
  NRTD_TRY((Call{*connection_, "infer_post", kNoDeadline}.Into(
      *connection_->nmgr, &nrt::nmgr_v1::Stub::infer_post, request, response)));
  return response.cookie();
}

Result<void> Daemon::Wait(uint64_t cookie, nrt::infer_response& response) {
  nrt::infer_wait_request request;
  request.set_cookie(cookie);
  return Call{*connection_, "infer_wait", kNoDeadline}.Into(
      *connection_->nmgr, &nrt::nmgr_v1::Stub::infer_wait, request, response);
}

Result<void> Daemon::MapSharedMemory(const std::string& path, uint64_t session_id) {
  nrt::shm_map_request request;
  request.set_session_id(session_id);
  request.set_path(path);
  request.set_mmap_prot(PROT_READ | PROT_WRITE);
  return Discard(
      Call{*connection_, "shm_map"}(*connection_->nmgr, &nrt::nmgr_v1::Stub::shm_map, request));
}

Result<void> Daemon::UnmapSharedMemory(const std::string& path) {
  nrt::shm_unmap_request request;
  request.set_path(path);
  return Discard(
      Call{*connection_, "shm_unmap"}(*connection_->nmgr, &nrt::nmgr_v1::Stub::shm_unmap, request));
}

Result<void> Daemon::Infer(const nrt::infer_request& request, nrt::infer_response& response) {
  return Call{*connection_, "infer", kNoDeadline}.Into(
      *connection_->nmgr, &nrt::nmgr_v1::Stub::infer, request, response);
}

Result<void> Daemon::InferWithin(Duration timeout, const nrt::infer_request& request,
                                 nrt::infer_response& response) {
  return Call{*connection_, "infer", timeout}.Into(*connection_->nmgr, &nrt::nmgr_v1::Stub::infer,
                                                   request, response);
}

Result<nrt::create_eg_response> Daemon::CreateGroup(uint32_t core_count, uint64_t session_id) {
  nrt::create_eg_request request;
  request.set_session_id(session_id);
  request.set_nc_count(core_count);
  return Call{*connection_, "create_eg"}(*connection_->nmgr, &nrt::nmgr_v1::Stub::create_eg,
                                         request);
}

Result<void> Daemon::DestroyGroup(uint32_t group_id) {
  nrt::destroy_eg_request request;
  request.mutable_h_eg()->set_id(group_id);
  return Discard(Call{*connection_, "destroy_eg"}(*connection_->nmgr,
                                                  &nrt::nmgr_v1::Stub::destroy_eg, request));
}

Result<nrt::out_list_egs> Daemon::ListGroups() {
  return Call{*connection_, "list_egs"}(*connection_->nmgr, &nrt::nmgr_v1::Stub::list_egs,
                                        nrt::empty());
}

Result<void> Daemon::UnloadAll() {
  return Discard(Call{*connection_, "unload_all", kNoDeadline}(
      *connection_->nmgr, &nrt::nmgr_v1::Stub::unload_all, nrt::empty()));
}

Result<uint64_t> Daemon::CoreBusyNs(uint32_t virtual_core) {
  nrt::read_nc_time_in_use_request request;
  request.set_vnc_id(virtual_core);
  NRTD_ASSIGN(const auto response,
              (Call{*connection_, "read_nc_time_in_use"}(
                  *connection_->nmgr, &nrt::nmgr_v1::Stub::read_nc_time_in_use, request)));
  return response.nc_time_in_use().time_in_use();
}

Result<v1::ListNetworksResponse> Daemon::ListNetworks() {
  return Call{*connection_, "ListNetworks"}(*connection_->control, &v1::Control::Stub::ListNetworks,
                                            v1::ListNetworksRequest());
}

Result<v1::ListClientsResponse> Daemon::ListClients() {
  return Call{*connection_, "ListClients"}(*connection_->control, &v1::Control::Stub::ListClients,
                                           v1::ListClientsRequest());
}

Result<void> Daemon::Evict(uint64_t client_id) {
  v1::EvictRequest request;
  request.set_client_id(client_id);
  NRTD_TRY(
      (Call{*connection_, "Evict"}(*connection_->control, &v1::Control::Stub::Evict, request)));
  return {};
}

Result<v1::ListDevicesResponse> Daemon::ListDevices() {
  return Call{*connection_, "ListDevices"}(*connection_->control, &v1::Control::Stub::ListDevices,
                                           v1::ListDevicesRequest());
}

Result<v1::HealthResponse> Daemon::Health() {
  return Call{*connection_, "Health"}(*connection_->control, &v1::Control::Stub::Health,
                                      v1::HealthRequest());
}

Result<v1::Network> Daemon::FindNetwork(uint32_t network_id) {
  NRTD_ASSIGN(v1::ListNetworksResponse response, ListNetworks());
  for (v1::Network& network : *response.mutable_networks()) {
    if (network.id() == network_id) return std::move(network);
  }
  return Fail(Nerr::kInvalidHandle, "the daemon at {} has no model {}; see neuron-cli list-model",
              address(), network_id);
}

}  // namespace nrtd::client
