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

SessionCall::SessionCall(const CallEnvironment& environment, rpc::RawService& service,
                         runtime::SessionTable& sessions, Late<runtime::Runtime>& runtime)
    : Call(environment.queue),
      environment_(environment),
      service_(service),
      sessions_(sessions),
      runtime_(runtime) {
  service_.RequestStream(service_.Method("session_monitor"), &context_, &stream_,
                         queue().completions(), this);
}

void SessionCall::Proceed(bool ok) {
  rpc::CallQueue::HandOver();  // numbers are written to a file, names may be long
  switch (step_) {
    case Step::kAwaited:
      if (!ok) break;
      new SessionCall(environment_, service_, sessions_, runtime_);
      Enter();
      return;
    case Step::kGreeting:
    case Step::kReading:
      // Not ok: half-closed or broken; either way the client has nothing more to say.
      if (!ok) {
        Finish(grpc::Status::OK);
        return;
      }
      if (step_ == Step::kReading) {
        if (const grpc::Status described = rpc::Guarded([this] { return Describe(); });
            !described.ok()) {
          Finish(described);
          return;
        }
      }
      step_ = Step::kReading;
      bytes_.Clear();
      stream_.Read(&bytes_, this);
      return;
    case Step::kAnswered:
      break;
  }
  delete this;
}

// Afterwards this may be gone.
void SessionCall::Enter() {
  grpc::Status refused;
  const Gate::Entry entry =
      environment_.gate.Enter(context_, std::nullopt, queue(), *this, &refused);
  if (entry == Gate::Entry::kNow) {
    Run();
  } else if (entry == Gate::Entry::kNever) {
    Finish(refused);
  }
}

void SessionCall::Run() {
  if (const grpc::Status opened = rpc::Guarded([this] { return Open(); }); !opened.ok()) {
    Finish(opened);
    return;
  }
  step_ = Step::kGreeting;
  stream_.Write(bytes_, this);
}

grpc::Status SessionCall::Open() {
  if (grpc::Status begun = environment_.gate.Begin(context_); !begun.ok()) return begun;
  const runtime::Client& client = context_.client();
  if (client.account != nullptr) {
    auto charge = client.account->Take(runtime::Holding::kSessions);
    if (!charge) return RefusalOf(charge.error());
    charge_ = std::move(*charge);
  }
  id_ = sessions_.Open(client);
  nrt::session_monitor_response response;
  response.set_session_id(id_);
  SetVersion(response.mutable_runtime_version());
  auto encoded = rpc::Encode(response);
  if (!encoded) return RefusalOf(encoded.error());
  bytes_ = std::move(*encoded);
  LogForClient(LogLevel::kDebug, "NMGR:Session", "session {} opened by {}", id_, client.Text());
  return grpc::Status::OK;
}

grpc::Status SessionCall::Describe() {
  environment_.meter.Taken(context_.client(), bytes_.Length());
  nrt::session_monitor_request request;
  if (auto decoded = rpc::Decode(bytes_, request); !decoded) return RefusalOf(decoded.error());
  runtime::SessionInfo info;
  info.framework = Printable(request.framework_name());
  info.framework_version = ToVersionInfo(request.framework_version());
  info.client_version = ToVersionInfo(request.fal_version());
  sessions_.Describe(id_, std::move(info));
  return grpc::Status::OK;
}

// The client learns of the end when all is free. A worker frees it: this thread has other calls.
void SessionCall::Finish(const grpc::Status& status) {
  bytes_.Clear();
  step_ = Step::kAnswered;
  if (id_ == 0) {
    stream_.Finish(status, this);
    return;
  }
  const auto closed = [this, status] {
    charge_.Release();
    LogForClient(LogLevel::kDebug, "NMGR:Session", "session {} of {} closed", id_,
                 context_.client().Text());
    stream_.Finish(status, this);
  };
  // Without a runtime nothing was made under the session. If one comes meanwhile, it sees the
  // session closed, or is seen here.
  if (runtime_.get() == nullptr) sessions_.Close(id_);
  if (runtime::Runtime* const runtime = runtime_.get()) {
    runtime->CloseSession(id_, closed);
  } else {
    closed();
  }
}

}  // namespace nrtd::service
