// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/infer_stream_call.h"

namespace nrtd::service {

InferStreamCall::InferStreamCall(CallQueue& call_queue, nrt::nmgr_stream::AsyncService& service,
                                 NmgrService& handler)
    : Call(call_queue), service_(service), handler_(handler) {
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
        response_.Clear();
        (void)handler_.infer(&context_, &request_, &response_);
        step_ = Step::kWriting;
        stream_.Write(response_, this);
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
      break;
  }
  delete this;
}

void InferStreamCall::Read() {
  step_ = Step::kReading;
  stream_.Read(&request_, this);
}

}  // namespace nrtd::service
