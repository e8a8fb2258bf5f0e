// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/server.h"

#include <chrono>
#include <filesystem>
#include <map>
#include <thread>

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <google/protobuf/stubs/logging.h>
#include <grpc/grpc.h>
#include <grpc/support/log.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>
#include <unistd.h>

#include "base/heap.h"
#include "base/log.h"
#include "base/timeouts.h"
#include "proto/nrt/nmgr_service.pb.h"
#include "proto/nrt/nmgr_session_service.pb.h"
#include "proto/nrt/nmgr_stream_service.pb.h"
#include "proto/nrtd/v1/control.pb.h"
#include "runtime/ledger/limits.h"
#include "runtime/ledger/rate_limiter.h"
#include "runtime/service/clients.h"
#include "runtime/service/gate.h"
#include "runtime/service/memory_trimmer.h"
#include "runtime/service/methods.h"
#include "runtime/service/process_watch.h"
#include "runtime/service/socket_meter.h"

namespace nrtd::service {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";

// Generated code is linked in only when something names it.
[[gnu::used]] const void* const linked[] = {
    &descriptor_table_proto_2fnrt_2fnmgr_5fservice_2eproto,
    &descriptor_table_proto_2fnrt_2fnmgr_5fsession_5fservice_2eproto,
    &descriptor_table_proto_2fnrt_2fnmgr_5fstream_5fservice_2eproto,
    &descriptor_table_proto_2fnrtd_2fv1_2fcontrol_2eproto};

// The path of a unix socket's address, or nothing.
std::optional<std::string> SocketPath(const std::string& address) {
  if (!address.starts_with(kUnixPrefix)) return std::nullopt;
  return address.substr(kUnixPrefix.size());
}

// The folder of this path if there is nothing in it, otherwise "".
std::string FreshFolder(const std::string& path) {
  namespace fs = std::filesystem;
  const fs::path parent = fs::path(path).parent_path();
  const fs::path folder = parent.empty() ? fs::path(".") : parent;
  std::error_code error;
  return fs::is_empty(folder, error) && !error ? folder.string() : "";
}

// gRPC's own words go where ours go. What it calls an error seldom is one for whoever runs the
// daemon: a client that went away, an address that is taken.
void LogOfGrpc(gpr_log_func_args* line) {
  LogForClient(LogLevel::kDebug, "GRPC", "{}", line->message);
}

// Protobuf tells of every message from a client with a text that is not UTF-8.
void LogOfProtobuf(google::protobuf::LogLevel, const char*, int, const std::string& message) {
  LogForClient(LogLevel::kDebug, "PROTOBUF", "{}", message);
}

// gRPC closes a connection with GOAWAY after its third ping within five minutes without data, and
// with it goes a session. Clients keep quiet connections alive more often than that.
void PermitKeepalive(grpc::ServerBuilder& builder) {
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             static_cast<int>(std::chrono::milliseconds(kMinPingInterval).count()));
  // Whether a call is open or not; without this the interval of a connection without one is 2 h.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // Pings that come too early and are forgiven, until the daemon sends something: gRPC's default.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 2);
}

// What gRPC may keep for a connection before the daemon sees it: so many calls, and of each no more
// than the first window unless it is being read. Windows that adapt would grow to megabytes.
void LimitConnections(grpc::ServerBuilder& builder) {
  constexpr int kMaxCallsOfAConnection = 256;
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxCallsOfAConnection);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
}

// A message of 64 KiB may expand to 64 MiB, in gRPC and before it is charged to anyone. Clients of
// 1.x send none that is compressed; one that is is refused with UNIMPLEMENTED.
void RefuseCompression(grpc::ServerBuilder& builder) {
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
}

}  // namespace

struct Server::State {
  State(std::string listen_address, const ServerOptions& options, bool by_tcp, const Served& served,
        boost::asio::io_context& io)
      : address(std::move(listen_address)),
        deadlines(io, served.clock),
        context(io),
        rate(io, served.clock, by_tcp ? 0 : options.call_rate),
        trimmer(io, {HeapBytesInUse, ReturnFreeMemory}),
        processes(io,
                  [this](runtime::ProcessKey process) {
                    boost::asio::post(reclaimers, [this, process] {
                      if (runtime::Runtime* const there = runtime.get()) there->EndProcess(process);
                    });
                  }),
        sessions(served.sessions),
        meter(sessions.ledger(), io),
        clients(sessions, options.access, by_tcp),
        gate(clients, meter, rate, [this](const runtime::Client& client) { CutOff(client); }),
        control_service(runtime, sessions, clients.rules(), served.clock, address,
                        [this, &io](runtime::ProcessKey client) {
                          boost::asio::post(io, [this, client] { CloseConnectionsOf(client); });
                          boost::asio::post(reclaimers, [this, client] { FreeAllOf(client); });
                        }) {
    control.Provide(control_service);
    SetReason(served.reason);
    if (served.runtime != nullptr) Provide(*served.runtime);
    sessions.ledger().SetOnFreed([this] { trimmer.Freed(); });
  }
  CallEnvironment environment() { return {*queue, clients, deadlines, meter, gate}; }

  void SetReason(const std::string& reason);
  void Provide(runtime::Runtime& with);
  Result<void> Build(bool by_tcp);
  Result<void> Listen(BoundSocket socket, boost::asio::io_context& io);
  void Serve(int descriptor);
  void CutOff(const runtime::Client& client);
  void Disconnected(int descriptor);
  void AwaitCalls(Duration grace);
  void CloseConnectionsOf(runtime::ProcessKey client);
  void FreeAllOf(runtime::ProcessKey client);

  static constexpr size_t kReclaimers = 2;
  std::string address;
  CallDeadlines deadlines;
  boost::asio::io_context& context;
  runtime::RateLimiter rate;
  MemoryTrimmer trimmer;
  ProcessWatch processes;
  runtime::SessionTable& sessions;
  SocketMeter meter;
  Clients clients;
  Gate gate;
  // Freeing what a client left may take as long as an inference, which the listener's thread must
  // not wait for.
  boost::asio::thread_pool reclaimers{kReclaimers};
  Late<runtime::Runtime> runtime;
  std::optional<NmgrService> nmgr_service;
  Late<NmgrService> nmgr;
  ControlService control_service;
  Late<ControlService> control;
  rpc::RawService nmgr_calls{"nrt.nmgr_v1"};
  rpc::RawService stream_calls{"nrt.nmgr_stream"};
  rpc::RawService session_calls{"nrt.nmgr_session_manager"};
  rpc::RawService control_calls{"nrtd.v1.Control"};
  std::unique_ptr<rpc::CallQueue> queue;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<Listener> listener;  // none for TCP: gRPC listens itself
  // Connections that wait for their client's rate, by descriptor. gRPC does not know them yet.
  struct Unserved {
    runtime::ProcessKey client;
    runtime::RateLimiter::Ticket ticket;
  };
  std::map<int, Unserved> unserved;
};

void Server::State::SetReason(const std::string& reason) {
  runtime.SetReason(reason);
  nmgr.SetReason(reason);
}

void Server::State::Provide(runtime::Runtime& with) {
  nmgr_service.emplace(with, clients);
  runtime.Provide(with);
  nmgr.Provide(*nmgr_service);
}

Result<void> Server::State::Build(bool by_tcp) {
  gpr_set_log_function(LogOfGrpc);
  google::protobuf::SetLogHandler(LogOfProtobuf);
  // Never undone: after a large message gRPC keeps a thread that polls for up to 10 s, and its
  // shutdown, which the last of its objects begins, would wait for that.
  static const bool initialized = (grpc_init(), true);
  (void)initialized;
  grpc::ServerBuilder builder;
  int port = 0;
  if (by_tcp) builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize(-1);
  builder.SetMaxSendMessageSize(-1);
  // Two daemons must never share a port by accident.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  PermitKeepalive(builder);
  LimitConnections(builder);
  RefuseCompression(builder);
  builder.RegisterService(&nmgr_calls);
  builder.RegisterService(&stream_calls);
  builder.RegisterService(&session_calls);
  builder.RegisterService(&control_calls);
  queue = std::make_unique<rpc::CallQueue>(builder.AddCompletionQueue(),
                                           runtime::CallThreadLimit(runtime::ReadSystemRoom()));
  server = builder.BuildAndStart();
  if (server != nullptr && (!by_tcp || port != 0)) return {};
  return Fail(Nerr::kInvalid,
              "cannot listen on {}: it is no address of this machine, or it is taken", address);
}

Result<void> Server::State::Listen(BoundSocket socket, boost::asio::io_context& io) {
  ListenerEvents events;
  events.on_connected = [this](int descriptor, runtime::Peer peer) -> Result<void> {
    NRTD_ASSIGN(const auto client, clients.Connected(descriptor, std::move(peer)));
    processes.Connected(*client);
    meter.Connected(*client);
    const auto ticket =
        rate.AdmitConnection(client->process, [this, descriptor] { Serve(descriptor); });
    if (ticket == 0) {
      grpc::AddInsecureChannelFromFd(server.get(), descriptor);
    } else {
      unserved.emplace(descriptor, Unserved{client->process, ticket});
    }
    return Result<void>();
  };
  meter.SetActions(
      {[this](int descriptor) {
         if (listener) listener->ShutDown(descriptor);
       },
       [this](int descriptor) { return listener && listener->HasUnread(descriptor); }});
  events.on_disconnected = [this](int descriptor) { Disconnected(descriptor); };
  NRTD_ASSIGN(listener, Listener::Open(std::move(socket), io, std::move(events)));
  return {};
}

// Once it may be served: unless it has gone meanwhile.
void Server::State::Serve(int descriptor) {
  if (unserved.erase(descriptor) != 0) grpc::AddInsecureChannelFromFd(server.get(), descriptor);
}

void Server::State::CutOff(const runtime::Client& client) {
  LogForClient(LogLevel::kWarning, "NRTD:Server",
               "{} goes on calling although its calls are refused: its connection is closed",
               client.Text());
  boost::asio::post(context, [this, descriptor = client.descriptor] {
    if (listener) listener->ShutDown(descriptor);
  });
}

void Server::State::Disconnected(int descriptor) {
  if (const auto waiting = unserved.extract(descriptor)) {
    rate.Forget(waiting.mapped().client, waiting.mapped().ticket);
    ::close(descriptor);
  }
  meter.Disconnected(descriptor);
  const auto client = clients.Disconnected(descriptor);
  if (!client) return;
  processes.Disconnected(*client);
  // As SessionCall::Close().
  if (runtime.get() == nullptr) sessions.Disconnect(client->connection);
  if (runtime::Runtime* const there = runtime.get()) there->Disconnect(client->connection, [] {});
}

// Until every call has been answered and every posted result collected, or its client has gone.
// What is left are streams, which wait for nothing.
void Server::State::AwaitCalls(Duration grace) {
  constexpr auto kBetweenLooks = std::chrono::milliseconds(2);
  const runtime::Counters& held = sessions.ledger().totals();
  const auto until = std::chrono::steady_clock::now() + grace;
  context.restart();
  while ((held.Of(runtime::Holding::kCalls) != 0 || held.Of(runtime::Holding::kCookies) != 0) &&
         std::chrono::steady_clock::now() < until) {
    const auto look = std::chrono::steady_clock::now() + kBetweenLooks;
    (void)context.run_until(look);
    std::this_thread::sleep_until(look);  // where nothing is left to run
  }
  context.stop();
}

void Server::State::CloseConnectionsOf(runtime::ProcessKey client) {
  if (!listener) return;
  for (const int descriptor : clients.DescriptorsOf(client)) listener->ShutDown(descriptor);
}

void Server::State::FreeAllOf(runtime::ProcessKey client) {
  if (runtime::Runtime* const there = runtime.get()) there->Evict(client);
}

Result<Endpoint> Endpoint::Reserve(const ServerOptions& options) {
  Endpoint endpoint;
  endpoint.address_ =
      options.address.starts_with('/') ? "unix:" + options.address : options.address;
  if (const auto path = SocketPath(endpoint.address_)) {
    endpoint.fresh_folder_ = FreshFolder(*path);
    NRTD_ASSIGN(BoundSocket socket,
                BoundSocket::Bind({*path, options.socket_mode, options.socket_group}));
    endpoint.socket_.emplace(std::move(socket));
  } else if (options.access.need_client()) {
    return Fail(
        Nerr::kInvalid,
        "clients of {} cannot be told apart: --isolation and --reclaim-on-disconnect need a "
        "unix socket",
        endpoint.address_);
  }
  return endpoint;
}

Result<std::unique_ptr<Server>> Server::Start(Endpoint endpoint, const ServerOptions& options,
                                              const Served& served, boost::asio::io_context& io) {
  const bool by_tcp = endpoint.by_tcp();
  auto state = std::make_unique<State>(endpoint.address(), options, by_tcp, served, io);
  NRTD_TRY(state->Build(by_tcp));
  ServeNmgr(state->environment(), state->nmgr_calls, state->nmgr);
  ServeStreams(state->environment(), state->stream_calls, state->nmgr);
  ServeSessions(state->environment(), state->session_calls, state->sessions, state->runtime);
  ServeControl(state->environment(), state->control_calls, state->control);
  Result<void> started;
  if (!by_tcp) started = state->Listen(std::move(*endpoint.socket_), io);
  if (started) started = state->queue->Start();
  if (!started) {
    state->server->Shutdown(std::chrono::system_clock::now());
    state->queue->Abandon();
    return tl::unexpected<Error>(std::move(started.error()));
  }
  return std::unique_ptr<Server>(new Server(std::move(state)));
}

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}

Server::~Server() {
  if (state_->server != nullptr) Shutdown(Duration::zero());
}

void Server::SetReason(const std::string& reason) {
  state_->SetReason(reason);
}

void Server::Provide(runtime::Runtime& runtime) {
  state_->Provide(runtime);
}

const std::string& Server::address() const {
  return state_->address;
}

void Server::Shutdown(Duration grace) {
  state_->gate.SetEnding();
  if (state_->listener) state_->listener->StopAccepting();
  for (const auto& [descriptor, waiting] : state_->unserved) {
    state_->rate.Forget(waiting.client, waiting.ticket);
    ::close(descriptor);
  }
  state_->unserved.clear();
  state_->rate.Open();
  state_->AwaitCalls(grace);
  state_->listener.reset();
  state_->server->Shutdown(std::chrono::system_clock::now());
  state_->queue->Stop();
  state_->reclaimers.join();
  state_->server.reset();
}

}  // namespace nrtd::service
