// SPDX-License-Identifier: Apache-2.0
//
// nrt.nmgr_stream: inferences one after the other on a stream that stays open.
#pragma once

#include <grpcpp/grpcpp.h>

#include "proto/nrt/nmgr_stream_service.grpc.pb.h"
#include "runtime/service/call_context.h"
#include "runtime/service/call_queue.h"
#include "runtime/service/nmgr_service.h"

namespace nrtd::service {

// One response a request, in the requests' order; a failed inference is an answer like any other.
// The next request is read when the response has left. Ends with the client's half-close.
class InferStreamCall final : public Call {
 public:
  // Waits for the next stream. All outlive the call.
  InferStreamCall(CallQueue& call_queue, nrt::nmgr_stream::AsyncService& service,
                  NmgrService& handler);

  void Proceed(bool ok) override;

 private:
  enum class Step { kAwaited, kReading, kWriting, kAnswered };
  void Answer();
  void Read();
  // One of two: the stream is answered, gRPC is done. The second one deletes this.
  void EndPart();

  nrt::nmgr_stream::AsyncService& service_;
  NmgrService& handler_;
  Step step_ = Step::kAwaited;
  CallContext context_;
  grpc::ServerAsyncReaderWriter<nrt::infer_response, nrt::infer_request> stream_{&context_};
  nrt::infer_request request_;
  nrt::infer_response response_;
  std::atomic<int> parts_left_{2};
};

}  // namespace nrtd::service
