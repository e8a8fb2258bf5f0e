// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/infer_stream_call.h"

#include "runtime/service/status.h"

namespace nrtd::service {

InferStreamCall::InferStreamCall(CallQueue& call_queue, nrt::nmgr_stream::AsyncService& service,
                                 NmgrService& handler)
    : Call(call_queue), service_(service), handler_(handler) {
  context_.Watch([this] { EndPart(); });
  service_.Requestinfer_stream(&context_, &stream_, queue().completions(), queue().completions(),
                               this);
}

void InferStreamCall::Proceed(bool ok) {
  switch (step_) {
    case Step::kAwaited:
      if (!ok) break;
      new InferStreamCall(queue(), service_, handler_);
      Read();
      return;
    case Step::kReading:
      if (ok) {
        Answer();
        return;
      }
      step_ = Step::kAnswered;
      stream_.Finish(grpc::Status::OK, this);
      return;
    case Step::kWriting:
      // Not ok: the client has gone; so will the read say.
      Read();
      return;
    case Step::kAnswered:
      EndPart();
      return;
  }
  delete this;  // it never began: gRPC will not speak of it again
}

void InferStreamCall::EndPart() {
  if (parts_left_.fetch_sub(1) == 1) delete this;
}

void InferStreamCall::Answer() {
  response_.Clear();
  const grpc::Status status =
      Guarded([this] { return handler_.infer(&context_, &request_, &response_); });
  if (!status.ok()) {
    step_ = Step::kAnswered;
    stream_.Finish(status, this);
    return;
  }
  // More than a message can hold; gRPC takes it for a mistake of the caller.
  if (response_.ByteSizeLong() > INT32_MAX) {
    response_.Clear();
    SetStatus(Error{Nerr::kResource, "the outputs are too large for a message: use shared memory"},
              response_.mutable_status());
  }
  step_ = Step::kWriting;
  stream_.Write(response_, this);
}

void InferStreamCall::Read() {
  step_ = Step::kReading;
  stream_.Read(&request_, this);
}

}  // namespace nrtd::service
