// SPDX-License-Identifier: Apache-2.0
//
// nrt.nmgr_session_manager: a session is a stream that lives as long as its client.
#pragma once

#include "proto/nrt/nmgr_session_service.pb.h"
#include "runtime/runtime.h"
#include "runtime/service/unary_call.h"

namespace nrtd::service {

// Answers {session_id, runtime_version} as soon as the stream opens, before the client has written
// anything, exactly once; also while the daemon waits for its devices, which the session then
// outlives. It ends with the stream, however that ends. Between two messages it occupies no thread.
class SessionCall final : public rpc::Call, private rpc::Task {
 public:
  // Waits for the next session. All outlive the call.
  SessionCall(const CallEnvironment& environment, rpc::RawService& service,
              runtime::SessionTable& sessions, Late<runtime::Runtime>& runtime);

  void Proceed(bool ok) override;

 private:
  enum class Step { kAwaited, kGreeting, kReading, kAnswered };
  void Enter();
  void Run() override;
  grpc::Status Open();
  grpc::Status Describe();
  void Finish(const grpc::Status& status);

  const CallEnvironment environment_;
  rpc::RawService& service_;
  runtime::SessionTable& sessions_;
  Late<runtime::Runtime>& runtime_;
  Step step_ = Step::kAwaited;
  runtime::SessionId id_ = 0;
  CallContext context_;
  rpc::RawService::Stream stream_{&context_};
  grpc::ByteBuffer bytes_;  // of the answer, then of what the client says of itself
  runtime::Charge charge_;
};

}  // namespace nrtd::service
