// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/server.h"

#include <cerrno>
#include <chrono>
#include <cstring>

#include <grpc/grpc.h>
#include <grpc/support/log.h>
#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/log.h"
#include "base/unique_fd.h"
#include "runtime/service/methods.h"

namespace nrtd::service {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";

// The path of a unix socket's address, or "".
std::string SocketPath(const std::string& address) {
  if (address.starts_with(kUnixPrefix)) return address.substr(kUnixPrefix.size());
  return "";
}

// Clears away what an earlier daemon left behind, and only that; then tries whether the path can be
// listened on, because gRPC only says that it could not, and the kernel says why.
Result<void> PrepareSocketPath(const std::string& path) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(name.sun_path)) {
    return Fail(Nerr::kInvalid, "socket path '{}' has {} bytes, 1 to {} are possible", path,
                path.size(), sizeof(name.sun_path) - 1);
  }
  std::memcpy(name.sun_path, path.c_str(), path.size() + 1);
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0) {
    return Fail(Nerr::kInvalid,
                "somebody listens on {} already: stop it, or choose another address with -g", path);
  }
  // ECONNREFUSED is a socket without a listener, or no socket at all: that one is somebody's file
  // and stays.
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0) {
    if (!S_ISSOCK(info.st_mode)) {
      return Fail(
          Nerr::kInvalid,
          "cannot listen on unix:{}: it exists and is no socket; remove it or choose another",
          path);
    }
    ::unlink(path.c_str());
  }
  if (::bind(probe.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) != 0) {
    return Fail(Nerr::kInvalid, "cannot listen on unix:{}: {}; choose another address with -g",
                path, ErrnoText(errno));
  }
  ::unlink(path.c_str());
  return {};
}

// gRPC's own words go where ours go. What it calls an error seldom is one for whoever runs the
// daemon: a client that went away, an address that is taken.
void LogOfGrpc(gpr_log_func_args* line) {
  Log(LogLevel::kDebug, "GRPC", "{}", line->message);
}

}  // namespace

struct Server::State {
  State(std::string listen_address, runtime::Runtime& runtime)
      : address(std::move(listen_address)), nmgr(runtime), control(runtime, address) {}

  std::string address;
  NmgrService nmgr;
  ControlService control;
  nrt::nmgr_v1::AsyncService nmgr_calls;
  nrt::nmgr_stream::AsyncService stream_calls;
  nrt::nmgr_session_manager::AsyncService session_calls;
  nrtd::v1::Control::AsyncService control_calls;
  std::unique_ptr<CallQueue> queue;
  std::unique_ptr<grpc::Server> server;
};

Result<std::unique_ptr<Server>> Server::Start(const std::string& address,
                                              runtime::Runtime& runtime) {
  auto state =
      std::make_unique<State>(address.starts_with('/') ? "unix:" + address : address, runtime);
  const std::string path = SocketPath(state->address);
  if (!path.empty() || state->address.starts_with(kUnixPrefix)) NRTD_TRY(PrepareSocketPath(path));
  gpr_set_log_function(LogOfGrpc);
  // Never undone: after a large message gRPC keeps a thread that polls for up to 10 s, and its
  // shutdown, which the last of its objects begins, would wait for that.
  static const bool initialized = (grpc_init(), true);
  (void)initialized;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(state->address, grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize(-1);
  builder.SetMaxSendMessageSize(-1);
  // Two daemons must never share a port by accident.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.RegisterService(&state->nmgr_calls);
  builder.RegisterService(&state->stream_calls);
  builder.RegisterService(&state->session_calls);
  builder.RegisterService(&state->control_calls);
  state->queue = std::make_unique<CallQueue>(builder.AddCompletionQueue());
  state->server = builder.BuildAndStart();
  if (state->server == nullptr || port == 0) {
    return Fail(Nerr::kInvalid,
                "cannot listen on {}: it is no address of this machine, or it is taken",
                state->address);
  }
  ServeNmgr(*state->queue, state->nmgr_calls, state->nmgr);
  ServeStreams(*state->queue, state->stream_calls, state->nmgr);
  ServeSessions(*state->queue, state->session_calls, runtime);
  ServeControl(*state->queue, state->control_calls, state->control);
  if (auto started = state->queue->Start(); !started) {
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

const std::string& Server::address() const {
  return state_->address;
}

void Server::Shutdown(Duration grace) {
  state_->server->Shutdown(std::chrono::system_clock::now() + grace);
  state_->queue->Stop();
  state_->server.reset();
  if (const std::string path = SocketPath(state_->address); !path.empty()) ::unlink(path.c_str());
}

}  // namespace nrtd::service
