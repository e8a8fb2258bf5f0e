// SPDX-License-Identifier: Apache-2.0
//
// load: a stream of one-field messages, one answer.
#pragma once

#include <atomic>

#include <grpcpp/grpcpp.h>

#include "proto/nrt/nmgr_service.grpc.pb.h"
#include "runtime/service/call_context.h"
#include "runtime/service/call_queue.h"
#include "runtime/service/neff_upload.h"
#include "runtime/service/nmgr_service.h"

namespace nrtd::service {

// A network whose id nobody got to see, because the client gave up in between, is unloaded again.
class LoadCall final : public Call {
 public:
  // Waits for the next load. All outlive the call.
  LoadCall(CallQueue& call_queue, nrt::nmgr_v1::AsyncService& service, NmgrService& handler);

  void Proceed(bool ok) override;

 private:
  enum class Step { kAwaited, kReading, kAnswered };
  void Answer();
  // One of two: the answer is sent, gRPC is done. The second one deletes this.
  void EndPart();

  nrt::nmgr_v1::AsyncService& service_;
  NmgrService& handler_;
  Step step_ = Step::kAwaited;
  CallContext context_;
  grpc::ServerAsyncReader<nrt::load_response, nrt::load_request> reader_{&context_};
  nrt::load_request message_;
  Rights rights_;
  NeffUpload upload_;
  Result<void> added_;
  runtime::NetworkId loaded_ = 0;  // 0: none
  std::atomic<int> parts_left_{2};
};

}  // namespace nrtd::service
