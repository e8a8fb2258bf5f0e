// SPDX-License-Identifier: Apache-2.0
//
// nrt.nmgr_session_manager: a session is a stream that lives as long as its client.
#pragma once

#include <grpcpp/grpcpp.h>

#include "proto/nrt/nmgr_session_service.grpc.pb.h"
#include "runtime/runtime.h"
#include "runtime/service/call_queue.h"
#include "runtime/service/clients.h"

namespace nrtd::service {

// Answers {session_id, runtime_version} as soon as the stream opens, before the client has written
// anything, exactly once. The session ends with the stream, however that ends. Between two messages
// it occupies no thread.
class SessionCall final : public Call {
 public:
  // Waits for the next session. All outlive the call.
  SessionCall(CallQueue& call_queue, nrt::nmgr_session_manager::AsyncService& service,
              runtime::Runtime& runtime, Clients& clients);

  void Proceed(bool ok) override;

 private:
  enum class Step { kAwaited, kGreeting, kReading, kAnswered };
  void Open();
  void Describe();
  void Close();

  nrt::nmgr_session_manager::AsyncService& service_;
  runtime::Runtime& runtime_;
  Clients& clients_;
  Step step_ = Step::kAwaited;
  runtime::SessionId id_ = 0;
  std::string client_text_;
  grpc::ServerContext context_;
  grpc::ServerAsyncReaderWriter<nrt::session_monitor_response, nrt::session_monitor_request>
      stream_{&context_};
  nrt::session_monitor_request request_;
  nrt::session_monitor_response response_;
};

}  // namespace nrtd::service
