// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/load_call.h"

namespace nrtd::service {

LoadCall::LoadCall(CallQueue& call_queue, nrt::nmgr_v1::AsyncService& service, NmgrService& handler)
    : Call(call_queue), service_(service), handler_(handler) {
  service_.Requestload(&context_, &reader_, queue().completions(), queue().completions(), this);
}

void LoadCall::Proceed(bool ok) {
  switch (step_) {
    case Step::kAwaited:
      if (!ok) break;
      new LoadCall(queue(), service_, handler_);
      step_ = Step::kReading;
      reader_.Read(&message_, this);
      return;
    case Step::kReading:
      if (ok) {
        // The rest of a stream that went wrong is read and dropped, so that the client gets to see
        // the answer.
        if (added_) added_ = upload_.Add(message_);
        reader_.Read(&message_, this);
        return;
      }
      step_ = Step::kAnswered;
      reader_.Finish(handler_.Load(std::move(added_), std::move(upload_)), grpc::Status::OK, this);
      return;
    case Step::kAnswered:
      break;
  }
  delete this;
}

}  // namespace nrtd::service
