// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/session_service.h"

#include <atomic>

#include "base/log.h"
#include "runtime/service/version.h"

namespace nrtd::service {
namespace {

runtime::VersionInfo ToVersionInfo(const nrt::version& version) {
  return {version.full_version(), version.major_num(), version.minor_num()};
}

// One stream. Deletes itself when gRPC is done with it.
class SessionReactor final
    : public grpc::ServerBidiReactor<nrt::session_monitor_request, nrt::session_monitor_response> {
 public:
  explicit SessionReactor(runtime::Runtime& runtime)
      : runtime_(runtime), id_(runtime.sessions().Open()) {
    response_.set_session_id(id_);
    SetVersion(response_.mutable_runtime_version());
    StartWrite(&response_);
    StartRead(&request_);
    Log(LogLevel::kDebug, "NMGR:Session", "session {} opened", id_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      // Half-closed or broken: either way the client has nothing more to say.
      if (!finished_.exchange(true)) Finish(grpc::Status::OK);
      return;
    }
    runtime::SessionInfo info;
    info.framework = request_.framework_name();
    info.framework_version = ToVersionInfo(request_.framework_version());
    info.client_version = ToVersionInfo(request_.fal_version());
    runtime_.sessions().Describe(id_, std::move(info));
    StartRead(&request_);
  }

  void OnDone() override {
    runtime_.CloseSession(id_);
    Log(LogLevel::kDebug, "NMGR:Session", "session {} closed", id_);
    delete this;
  }

 private:
  runtime::Runtime& runtime_;
  const runtime::SessionId id_;
  nrt::session_monitor_request request_;
  nrt::session_monitor_response response_;
  std::atomic<bool> finished_{false};
};

}  // namespace

grpc::ServerBidiReactor<nrt::session_monitor_request, nrt::session_monitor_response>*
SessionService::session_monitor(grpc::CallbackServerContext*) {
  return new SessionReactor(runtime_);
}

}  // namespace nrtd::service
