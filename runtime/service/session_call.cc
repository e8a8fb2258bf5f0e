// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/session_call.h"

#include "base/log.h"
#include "runtime/service/version.h"

namespace nrtd::service {
namespace {

runtime::VersionInfo ToVersionInfo(const nrt::version& version) {
  return {Printable(version.full_version()), version.major_num(), version.minor_num()};
}

}  // namespace

SessionCall::SessionCall(CallQueue& call_queue, nrt::nmgr_session_manager::AsyncService& service,
                         runtime::Runtime& runtime, Clients& clients)
    : Call(call_queue), service_(service), runtime_(runtime), clients_(clients) {
  service_.Requestsession_monitor(&context_, &stream_, queue().completions(), queue().completions(),
                                  this);
}

void SessionCall::Proceed(bool ok) {
  switch (step_) {
    case Step::kAwaited:
      if (!ok) break;
      new SessionCall(queue(), service_, runtime_, clients_);
      Open();
      step_ = Step::kGreeting;
      stream_.Write(response_, this);
      return;
    case Step::kGreeting:
    case Step::kReading:
      // Not ok: half-closed or broken; either way the client has nothing more to say.
      if (!ok) {
        Close();
        step_ = Step::kAnswered;
        stream_.Finish(grpc::Status::OK, this);
        return;
      }
      if (step_ == Step::kReading) Describe();
      step_ = Step::kReading;
      stream_.Read(&request_, this);
      return;
    case Step::kAnswered:
      break;
  }
  delete this;
}

void SessionCall::Open() {
  const runtime::Client client = clients_.Find(context_);
  client_text_ = client.Text();
  id_ = runtime_.sessions().Open(client);
  response_.set_session_id(id_);
  SetVersion(response_.mutable_runtime_version());
  LogForClient(LogLevel::kDebug, "NMGR:Session", "session {} opened by {}", id_, client_text_);
}

void SessionCall::Describe() {
  runtime::SessionInfo info;
  info.framework = Printable(request_.framework_name());
  info.framework_version = ToVersionInfo(request_.framework_version());
  info.client_version = ToVersionInfo(request_.fal_version());
  runtime_.sessions().Describe(id_, std::move(info));
  // Clear() would keep the memory of its texts as long as the session lives.
  nrt::session_monitor_request().Swap(&request_);
}

void SessionCall::Close() {
  runtime_.CloseSession(id_);
  LogForClient(LogLevel::kDebug, "NMGR:Session", "session {} of {} closed", id_, client_text_);
}

}  // namespace nrtd::service
