// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/unavailable_server.h"

#include <algorithm>
#include <chrono>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>
#include <unistd.h>

#include "base/mutex.h"
#include "proto/nrt/nmgr_service.pb.h"
#include "proto/nrt/nmgr_session_service.pb.h"
#include "proto/nrt/nmgr_stream_service.pb.h"
#include "proto/nrtd/v1/control.pb.h"
#include "runtime/service/status.h"
#include "runtime/service/version.h"

namespace nrtd::service {
namespace {

// "/nrt.nmgr_v1/load" to its description, or null.
const google::protobuf::MethodDescriptor* FindMethod(std::string name) {
  if (!name.starts_with('/')) return nullptr;
  name.erase(0, 1);
  std::replace(name.begin(), name.end(), '/', '.');
  // Generated code is linked in, and enters the pool, only when something names it.
  [[gnu::used]] static const void* const linked[] = {
      &descriptor_table_proto_2fnrt_2fnmgr_5fservice_2eproto,
      &descriptor_table_proto_2fnrt_2fnmgr_5fsession_5fservice_2eproto,
      &descriptor_table_proto_2fnrt_2fnmgr_5fstream_5fservice_2eproto,
      &descriptor_table_proto_2fnrtd_2fv1_2fcontrol_2eproto};
  return google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(name);
}

// The method's response with the status in it, or what it says without one; null where it has
// nothing to say.
std::unique_ptr<google::protobuf::Message> Answer(const google::protobuf::MethodDescriptor& method,
                                                  const Error& error) {
  const google::protobuf::Descriptor* type = method.output_type();
  std::unique_ptr<google::protobuf::Message> answer(
      google::protobuf::MessageFactory::generated_factory()->GetPrototype(type)->New());
  if (auto* status = dynamic_cast<nrt::status*>(answer.get())) {
    SetStatus(error, status);
    return answer;
  }
  if (auto* version = dynamic_cast<nrt::get_version_response*>(answer.get())) {
    SetVersion(version->mutable_runtime_version());
    return answer;
  }
  const google::protobuf::FieldDescriptor* field = type->FindFieldByName("status");
  if (field == nullptr || field->message_type() != nrt::status::descriptor()) return nullptr;
  SetStatus(error, static_cast<nrt::status*>(
                       answer->GetReflection()->MutableMessage(answer.get(), field)));
  if (auto* health = dynamic_cast<nrtd::v1::HealthResponse*>(answer.get())) {
    health->set_state("failed");
    health->set_reason(error.text);
    health->set_pid(::getpid());
    SetVersion(health->mutable_version());
  }
  return answer;
}

class Reasons {
 public:
  Error Get() {
    MutexLock lock(mutex_);
    return {Nerr::kHwError, reason_};
  }
  void Set(const std::string& reason) {
    MutexLock lock(mutex_);
    reason_ = reason;
  }

 private:
  Mutex mutex_;
  std::string reason_ NRTD_GUARDED_BY(mutex_);
};

// One call: reads what the client has to say, answers once. Deletes itself.
class UnavailableCall final : public grpc::ServerGenericBidiReactor {
 public:
  UnavailableCall(const std::string& method, Reasons& reasons) {
    const auto* const description = FindMethod(method);
    if (description == nullptr) {
      Finish({grpc::StatusCode::UNIMPLEMENTED, "no such method: " + method});
      return;
    }
    const Error error = reasons.Get();
    const auto answer = Answer(*description, error);
    if (!answer) {
      Finish({grpc::StatusCode::UNAVAILABLE, error.text});
      return;
    }
    const std::string bytes = answer->SerializeAsString();
    const grpc::Slice slice(bytes);
    answer_ = grpc::ByteBuffer(&slice, 1);
    reads_all_ = description->client_streaming() && !description->server_streaming();
    StartRead(&request_);
  }

  // A load is heard out, or its client would take the early end for an error of the transport.
  void OnReadDone(bool ok) override {
    if (ok && reads_all_) {
      StartRead(&request_);
      return;
    }
    StartWriteAndFinish(&answer_, grpc::WriteOptions(), grpc::Status::OK);
  }
  void OnDone() override { delete this; }

 private:
  grpc::ByteBuffer request_;
  grpc::ByteBuffer answer_;
  bool reads_all_ = false;
};

class UnavailableService final : public grpc::CallbackGenericService {
 public:
  explicit UnavailableService(Reasons& reasons) : reasons_(reasons) {}
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override {
    return new UnavailableCall(context->method(), reasons_);
  }

 private:
  Reasons& reasons_;
};

}  // namespace

struct UnavailableServer::State {
  Reasons reasons;
  UnavailableService service{reasons};
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<Listener> listener;
};

Result<std::unique_ptr<UnavailableServer>> UnavailableServer::Start(Endpoint endpoint,
                                                                    const std::string& reason,
                                                                    boost::asio::io_context& io) {
  auto state = std::make_unique<State>();
  state->reasons.Set(reason);
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(-1);
  builder.RegisterCallbackGenericService(&state->service);
  int port = 0;
  if (endpoint.by_tcp())
    builder.AddListeningPort(endpoint.address(), grpc::InsecureServerCredentials(), &port);
  state->server = builder.BuildAndStart();
  if (state->server == nullptr || (endpoint.by_tcp() && port == 0)) {
    return Fail(Nerr::kInvalid,
                "cannot listen on {}: it is no address of this machine, or it is taken",
                endpoint.address());
  }
  if (!endpoint.by_tcp()) {
    ListenerEvents events;
    events.on_connected = [server = state->server.get()](int descriptor,
                                                         const runtime::Peer&) -> Result<void> {
      grpc::AddInsecureChannelFromFd(server, descriptor);
      return {};
    };
    events.on_disconnected = [](int) {};
    NRTD_ASSIGN(state->listener,
                Listener::Open(std::move(*endpoint.socket_), io, std::move(events)));
  }
  return std::unique_ptr<UnavailableServer>(new UnavailableServer(std::move(state)));
}

UnavailableServer::UnavailableServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

UnavailableServer::~UnavailableServer() {
  state_->listener.reset();
  state_->server->Shutdown(std::chrono::system_clock::now());
}

void UnavailableServer::SetReason(const std::string& reason) {
  state_->reasons.Set(reason);
}

}  // namespace nrtd::service
