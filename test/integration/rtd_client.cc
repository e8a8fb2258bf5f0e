// SPDX-License-Identifier: Apache-2.0
#include "test/integration/rtd_client.h"

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/nrt/nmgr_service.grpc.pb.h"
#include "proto/nrt/nmgr_session_service.grpc.pb.h"
#include "proto/nrt/nmgr_stream_service.grpc.pb.h"
#include "proto/nrtd/v1/control.grpc.pb.h"

namespace nrtd::integration {
namespace {

constexpr std::chrono::seconds kAnswerTimeout(120);

void SetDeadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + kAnswerTimeout);
}

void Check(const grpc::Status& status) {
  if (status.ok()) return;
  throw std::runtime_error("gRPC status " + std::to_string(status.error_code()) + ": " +
                           status.error_message());
}

template <typename Stub, typename Request, typename Response>
Response Call(Stub& stub,
              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
              const Request& request = {}) {
  grpc::ClientContext context;
  SetDeadline(context);
  Response response;
  Check((stub.*method)(&context, request, &response));
  return response;
}

template <typename Stub, typename Request, typename Response>
using BeginCall = std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> (Stub::*)(
    grpc::ClientContext*, const Request&, grpc::CompletionQueue*);

template <typename Stub, typename Request, typename Response>
class PendingCallOf final : public PendingCall {
 public:
  PendingCallOf(Stub& stub, BeginCall<Stub, Request, Response> begin, const Request& request) {
    SetDeadline(context_);
    reader_ = (stub.*begin)(&context_, request, &queue_);
    reader_->Finish(&response_, &status_, nullptr);
  }
  ~PendingCallOf() override {
    context_.TryCancel();
    void* tag = nullptr;
    bool ok = false;
    queue_.Next(&tag, &ok);
    queue_.Shutdown();
    while (queue_.Next(&tag, &ok)) {
    }
  }
  PendingCallOf(const PendingCallOf&) = delete;
  PendingCallOf& operator=(const PendingCallOf&) = delete;

 private:
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> reader_;
  Response response_;
  grpc::Status status_;
};

template <typename Stub, typename Request, typename Response>
std::unique_ptr<PendingCall> Begin(Stub& stub,
                                   std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> (
                                       Stub::*begin)(grpc::ClientContext*, const Request&,
                                                     grpc::CompletionQueue*),
                                   const Request& request) {
  // The alias would not let Stub be deduced.
  return std::make_unique<PendingCallOf<Stub, Request, Response>>(stub, begin, request);
}

template <typename Request>
Request WithNetwork(uint32_t network) {
  Request request;
  request.mutable_h_nn()->set_id(network);
  return request;
}

nrt::infer_wait_request WithCookie(uint64_t cookie) {
  nrt::infer_wait_request request;
  request.set_cookie(cookie);
  return request;
}

std::shared_ptr<grpc::Channel> OpenChannel(const std::string& address) {
  // Channels of equal arguments share a connection, so these differ.
  static std::atomic<int> number{0};
  grpc::ChannelArguments arguments;
  arguments.SetInt("nrtd.connection", ++number);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

// Connected by a thread of that user. The system calls, unlike the C library's, change one thread.
UniqueFd ConnectAs(const std::string& path, const RtdClient::User& user) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  path.copy(name.sun_path, sizeof(name.sun_path) - 1);
  bool connected = false;
  std::thread([&] {
    connected =
        ::syscall(SYS_setgroups, user.groups.size(), user.groups.data()) == 0 &&
        ::syscall(SYS_setresgid, user.gid, user.gid, user.gid) == 0 &&
        ::syscall(SYS_setresuid, user.uid, user.uid, user.uid) == 0 &&
        ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0;
  }).join();
  if (!connected) throw std::runtime_error("cannot connect as uid " + std::to_string(user.uid));
  if (::fcntl(socket.get(), F_SETFL, O_RDWR | O_NONBLOCK) != 0) throw std::runtime_error("fcntl");
  return socket;
}

using Nmgr = nrt::nmgr_v1::Stub;
using Control = v1::Control::Stub;

}  // namespace

struct RtdClient::Stubs {
  explicit Stubs(std::shared_ptr<grpc::Channel> opened) : channel(std::move(opened)) {}
  std::shared_ptr<grpc::Channel> channel;
  Nmgr nmgr{channel};
  nrt::nmgr_stream::Stub streams{channel};
  nrt::nmgr_session_manager::Stub sessions{channel};
  Control control{channel};
};

RtdClient::RtdClient(const std::string& address)
    : stubs_(std::make_unique<Stubs>(OpenChannel(address))) {}
RtdClient::RtdClient(const std::string& socket_path, const User& user)
    : RtdClient(ConnectAs(socket_path, user)) {}
RtdClient::RtdClient(UniqueFd connection)
    : stubs_(std::make_unique<Stubs>(
          grpc::CreateInsecureChannelFromFd("a connection", connection.Release()))) {}
RtdClient::~RtdClient() = default;

nrt::load_response RtdClient::Load(const std::vector<nrt::load_request>& messages) {
  grpc::ClientContext context;
  SetDeadline(context);
  nrt::load_response response;
  const auto writer = stubs_->nmgr.load(&context, &response);
  for (const nrt::load_request& message : messages) {
    if (!writer->Write(message)) break;  // the daemon has answered already
  }
  writer->WritesDone();
  Check(writer->Finish());
  return response;
}

void RtdClient::LoadAndCancel(const std::vector<nrt::load_request>& messages) {
  grpc::ClientContext context;
  SetDeadline(context);
  nrt::load_response response;
  const auto writer = stubs_->nmgr.load(&context, &response);
  for (const nrt::load_request& message : messages) writer->Write(message);
  context.TryCancel();
  (void)writer->Finish();
}

nrt::unload_response RtdClient::Unload(uint32_t network) {
  return Call(stubs_->nmgr, &Nmgr::unload, WithNetwork<nrt::unload_request>(network));
}
nrt::start_response RtdClient::Start(uint32_t network) {
  return Call(stubs_->nmgr, &Nmgr::start, WithNetwork<nrt::start_request>(network));
}
nrt::stop_response RtdClient::Stop(uint32_t network) {
  return Call(stubs_->nmgr, &Nmgr::stop, WithNetwork<nrt::stop_request>(network));
}
nrt::status RtdClient::UnloadAll() {
  return Call(stubs_->nmgr, &Nmgr::unload_all);
}

nrt::infer_response RtdClient::Infer(const nrt::infer_request& request) {
  return Call(stubs_->nmgr, &Nmgr::infer, request);
}
nrt::infer_post_response RtdClient::Post(const nrt::infer_request& request) {
  return Call(stubs_->nmgr, &Nmgr::infer_post, request);
}
void RtdClient::PostAndCancel(const nrt::infer_request& request, int count) {
  std::vector<std::unique_ptr<PendingCall>> posts;
  for (int i = 0; i < count; ++i)
    posts.push_back(Begin(stubs_->nmgr, &Nmgr::Asyncinfer_post, request));
}
nrt::infer_response RtdClient::Wait(const nrt::infer_wait_request& request) {
  return Call(stubs_->nmgr, &Nmgr::infer_wait, request);
}
nrt::infer_response RtdClient::Wait(uint64_t cookie) {
  return Wait(WithCookie(cookie));
}
nrt::infer_response RtdClient::Poll(uint64_t cookie) {
  return Call(stubs_->nmgr, &Nmgr::infer_poll, WithCookie(cookie));
}

std::unique_ptr<PendingCall> RtdClient::BeginInfer(const nrt::infer_request& request) {
  return Begin(stubs_->nmgr, &Nmgr::Asyncinfer, request);
}
std::unique_ptr<PendingCall> RtdClient::BeginWait(uint64_t cookie) {
  return Begin(stubs_->nmgr, &Nmgr::Asyncinfer_wait, WithCookie(cookie));
}

std::unique_ptr<PendingCall> RtdClient::BeginUnload(uint32_t network) {
  return Begin(stubs_->nmgr, &Nmgr::Asyncunload, WithNetwork<nrt::unload_request>(network));
}

nrt::create_eg_response RtdClient::CreateGroup(uint32_t cores, uint64_t session) {
  nrt::create_eg_request request;
  request.set_nc_count(cores);
  request.set_session_id(session);
  return Call(stubs_->nmgr, &Nmgr::create_eg, request);
}
void RtdClient::CreateGroupAndCancel(uint32_t cores) {
  nrt::create_eg_request request;
  request.set_nc_count(cores);
  Begin(stubs_->nmgr, &Nmgr::Asynccreate_eg, request);
}
nrt::destroy_eg_response RtdClient::DestroyGroup(uint32_t group) {
  nrt::destroy_eg_request request;
  request.mutable_h_eg()->set_id(group);
  return Call(stubs_->nmgr, &Nmgr::destroy_eg, request);
}
nrt::out_list_egs RtdClient::ListGroups() {
  return Call(stubs_->nmgr, &Nmgr::list_egs);
}

nrt::shm_map_response RtdClient::Map(const nrt::shm_map_request& request) {
  return Call(stubs_->nmgr, &Nmgr::shm_map, request);
}
nrt::shm_unmap_response RtdClient::Unmap(const std::string& path) {
  nrt::shm_unmap_request request;
  request.set_path(path);
  return Call(stubs_->nmgr, &Nmgr::shm_unmap, request);
}

nrt::get_version_response RtdClient::GetVersion() {
  return Call(stubs_->nmgr, &Nmgr::get_version);
}
nrt::read_nc_time_in_use_response RtdClient::CoreTime(uint32_t core) {
  nrt::read_nc_time_in_use_request request;
  request.set_vnc_id(core);
  return Call(stubs_->nmgr, &Nmgr::read_nc_time_in_use, request);
}

v1::ListNetworksResponse RtdClient::ListNetworks() {
  return Call(stubs_->control, &Control::ListNetworks);
}
v1::ListSessionsResponse RtdClient::ListSessions() {
  return Call(stubs_->control, &Control::ListSessions);
}
v1::ListClientsResponse RtdClient::ListClients() {
  return Call(stubs_->control, &Control::ListClients);
}
v1::ListDevicesResponse RtdClient::ListDevices() {
  return Call(stubs_->control, &Control::ListDevices);
}
v1::HealthResponse RtdClient::Health() {
  return Call(stubs_->control, &Control::Health);
}

nrt::infer_check_completion_response RtdClient::CheckCompletion(
    const std::vector<uint64_t>& cookies) {
  nrt::infer_check_completion_request request;
  for (const uint64_t cookie : cookies) request.add_cookie(cookie);
  return Call(stubs_->nmgr, &Nmgr::infer_check_completion, request);
}

nrt::read_nc_counters_response RtdClient::CoreCounters(uint32_t core) {
  nrt::read_nc_counters_request request;
  request.set_vnc_id(core);
  return Call(stubs_->nmgr, &Nmgr::read_nc_counters, request);
}
nrt::nmgr_counters RtdClient::InferenceCounters() {
  return Call(stubs_->nmgr, &Nmgr::read_inference_counters).nmgr_counters();
}
nrt::read_all_counters_response RtdClient::AllCounters() {
  return Call(stubs_->nmgr, &Nmgr::read_all_counters);
}
nrt::read_all_metrics_response RtdClient::Metrics(uint32_t summarize_period) {
  nrt::read_all_metrics_request request;
  request.set_summarize_period(summarize_period);
  return Call(stubs_->nmgr, &Nmgr::read_all_metrics, request);
}
nrt::get_hw_counters_response RtdClient::HardwareCounters(
    const nrt::get_hw_counters_request& request) {
  return Call(stubs_->nmgr, &Nmgr::get_hw_counters, request);
}
nrt::get_all_hw_counters_response RtdClient::AllHardwareCounters() {
  return Call(stubs_->nmgr, &Nmgr::get_all_hw_counters);
}
nrt::random_seed_response RtdClient::RandomSeed(uint32_t group, uint32_t seed) {
  nrt::random_seed_request request;
  request.mutable_h_eg()->set_id(group);
  request.set_seed(seed);
  return Call(stubs_->nmgr, &Nmgr::random_seed, request);
}
nrt::set_static_transfer_adjustment_response RtdClient::SetTransferAdjustment(uint32_t count) {
  nrt::set_static_transfer_adjustment_request request;
  request.set_transfer_adjust_cnt(count);
  return Call(stubs_->nmgr, &Nmgr::set_static_transfer_adjustment, request);
}

struct SessionStream::Impl {
  grpc::ClientContext context;
  std::unique_ptr<
      grpc::ClientReaderWriter<nrt::session_monitor_request, nrt::session_monitor_response>>
      stream;
  bool finished = false;
};

std::unique_ptr<SessionStream> RtdClient::OpenSession() {
  auto impl = std::make_unique<SessionStream::Impl>();
  SetDeadline(impl->context);
  impl->stream = stubs_->sessions.session_monitor(&impl->context);
  return std::make_unique<SessionStream>(std::move(impl));
}

std::vector<nrt::infer_response> RtdClient::InferStream(
    const std::vector<nrt::infer_request>& requests) {
  grpc::ClientContext context;
  SetDeadline(context);
  auto stream = stubs_->streams.infer_stream(&context);
  for (const auto& request : requests) stream->Write(request);
  stream->WritesDone();
  std::vector<nrt::infer_response> responses;
  for (nrt::infer_response response; stream->Read(&response);) responses.push_back(response);
  Check(stream->Finish());
  return responses;
}

SessionStream::SessionStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

SessionStream::~SessionStream() {
  if (impl_->finished) return;
  impl_->context.TryCancel();
  (void)impl_->stream->Finish();
}

nrt::session_monitor_response SessionStream::Read() {
  nrt::session_monitor_response response;
  if (!impl_->stream->Read(&response)) throw std::runtime_error("the session's stream has ended");
  return response;
}

bool SessionStream::AtEnd() {
  nrt::session_monitor_response response;
  return !impl_->stream->Read(&response);
}

void SessionStream::Write(const nrt::session_monitor_request& request) {
  if (!impl_->stream->Write(request)) throw std::runtime_error("the session's stream has ended");
}

void SessionStream::WritesDone() {
  impl_->stream->WritesDone();
}

int SessionStream::Finish() {
  impl_->finished = true;
  return impl_->stream->Finish().error_code();
}

}  // namespace nrtd::integration
