// SPDX-License-Identifier: Apache-2.0
//
// load: a stream of one-field messages, one answer.
#pragma once

#include <atomic>

#include "runtime/service/neff_upload.h"
#include "runtime/service/nmgr_service.h"
#include "runtime/service/unary_call.h"

namespace nrtd::service {

// While the daemon waits for its devices, what a load sends is read and discarded, message by
// message, and the answer carries the reason.
// A network whose id nobody got to see, because the client gave up in between, is unloaded again.
class LoadCall final : public rpc::Call, private rpc::Task {
 public:
  // Waits for the next load. All outlive the call.
  LoadCall(const CallEnvironment& environment, rpc::RawService& service,
           Late<NmgrService>& handler);

  void Proceed(bool ok) override;

 private:
  enum class Step { kAwaited, kReading, kAnswered };
  void Enter();
  grpc::Status Begin();
  void ReadNext();
  grpc::Status Take();
  void Run() override;
  void Answer();
  void Finish(const grpc::Status& status, const nrt::load_response& response);
  // One of two: the answer is sent, gRPC is done. The second one deletes this.
  void EndPart();

  const CallEnvironment environment_;
  rpc::RawService& service_;
  Late<NmgrService>& late_handler_;
  NmgrService* handler_ = nullptr;  // since the load began; null: it is refused
  Step step_ = Step::kAwaited;
  CallContext context_;
  rpc::RawService::Reader reader_{&context_};
  grpc::ByteBuffer bytes_;
  nrt::load_request message_;  // one after another: its memory is used again
  Rights rights_;
  NeffUpload upload_;
  Result<void> added_;
  runtime::NetworkId loaded_ = 0;  // 0: none
  std::atomic<int> parts_left_{2};
};

}  // namespace nrtd::service
