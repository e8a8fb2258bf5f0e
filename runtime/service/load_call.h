// SPDX-License-Identifier: Apache-2.0
//
// load: a stream of one-field messages, one answer.
#pragma once

#include <atomic>

#include "runtime/service/neff_upload.h"
#include "runtime/service/nmgr_service.h"
#include "runtime/service/unary_call.h"

namespace nrtd::service {

// A network whose id nobody got to see, because the client gave up in between, is unloaded again.
class LoadCall final : public Call, private Task {
 public:
  // Waits for the next load. All outlive the call.
  LoadCall(const CallEnvironment& environment, RawService& service, NmgrService& handler);

  void Proceed(bool ok) override;

 private:
  enum class Step { kAwaited, kReading, kAnswered };
  grpc::Status Begin();
  void ReadNext();
  grpc::Status Take();
  void Run() override;
  void Answer();
  void Finish(const grpc::Status& status, const nrt::load_response& response);
  // One of two: the answer is sent, gRPC is done. The second one deletes this.
  void EndPart();

  const CallEnvironment environment_;
  RawService& service_;
  NmgrService& handler_;
  Step step_ = Step::kAwaited;
  CallContext context_;
  RawService::Reader reader_{&context_};
  grpc::ByteBuffer bytes_;
  nrt::load_request message_;  // one after another: its memory is used again
  Rights rights_;
  NeffUpload upload_;
  Result<void> added_;
  runtime::NetworkId loaded_ = 0;  // 0: none
  std::atomic<int> parts_left_{2};
};

}  // namespace nrtd::service
