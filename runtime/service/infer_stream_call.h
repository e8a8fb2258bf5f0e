// SPDX-License-Identifier: Apache-2.0
//
// nrt.nmgr_stream: inferences one after the other on a stream that stays open.
#pragma once

#include <atomic>

#include "runtime/service/nmgr_service.h"
#include "runtime/service/unary_call.h"

namespace nrtd::service {

// One response a request, in the requests' order; a failed inference is an answer like any other.
// The next request is read when the response has left. Ends with the client's half-close.
class InferStreamCall final : public rpc::Call, private rpc::Deferred, private rpc::Task {
 public:
  // Waits for the next stream. All outlive the call.
  InferStreamCall(const CallEnvironment& environment, rpc::RawService& service,
                  Late<NmgrService>& handler);

  void Proceed(bool ok) override;

 private:
  enum class Step { kAwaited, kReading, kWriting, kAnswered };
  void Enter();
  void Run() override;
  grpc::Status Begin();
  grpc::Status Handle();
  grpc::Status EncodeResponse();
  void Answer();
  void Respond(const grpc::Status& status) override;
  void Read();
  void Finish(const grpc::Status& status);
  // One of two: the stream is answered, gRPC is done. The second one deletes this.
  void EndPart();

  const CallEnvironment environment_;
  rpc::RawService& service_;
  Late<NmgrService>& handler_;
  Step step_ = Step::kAwaited;
  CallContext context_;
  rpc::RawService::Stream stream_{&context_};
  grpc::ByteBuffer bytes_;  // of a request, then of its response
  nrt::infer_request request_;
  nrt::infer_response response_;
  runtime::Charge charge_;
  std::atomic<int> parts_left_{2};
  InferenceWait wait_{queue(), *this};
};

}  // namespace nrtd::service
