// SPDX-License-Identifier: Apache-2.0
//
// nrt.nmgr_session_manager. The callback interface of gRPC, because a session lives as long as its
// client: it must not keep a thread.
#pragma once

#include "proto/nrt/nmgr_session_service.grpc.pb.h"
#include "runtime/runtime.h"

namespace nrtd::service {

class SessionService final : public nrt::nmgr_session_manager::CallbackService {
 public:
  // `runtime` outlives the service.
  explicit SessionService(runtime::Runtime& runtime) : runtime_(runtime) {}

  // Answers {session_id, runtime_version} as soon as the stream opens, before the client has
  // written anything, exactly once. The session ends with the stream, however that ends.
  grpc::ServerBidiReactor<nrt::session_monitor_request, nrt::session_monitor_response>*
  session_monitor(grpc::CallbackServerContext* context) override;

 private:
  runtime::Runtime& runtime_;
};

}  // namespace nrtd::service
