// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/load_call.h"

namespace nrtd::service {

LoadCall::LoadCall(CallQueue& call_queue, nrt::nmgr_v1::AsyncService& service, NmgrService& handler)
    : Call(call_queue), service_(service), handler_(handler) {
  context_.Watch([this] { EndPart(); });
  service_.Requestload(&context_, &reader_, queue().completions(), queue().completions(), this);
}

void LoadCall::Proceed(bool ok) {
  switch (step_) {
    case Step::kAwaited:
      if (!ok) break;
      new LoadCall(queue(), service_, handler_);
      rights_ = handler_.clients().RightsOf(context_);
      step_ = Step::kReading;
      reader_.Read(&message_, this);
      return;
    case Step::kReading:
      if (ok) {
        // The rest of a stream that went wrong is read and dropped, so that the client gets to see
        // the answer.
        if (const grpc::Status taken = Guarded([this] {
              if (added_) added_ = upload_.Add(message_);
              return grpc::Status::OK;
            });
            !taken.ok()) {
          added_ = Fail(Nerr::kResource, "cannot take the NEFF: {}", taken.error_message());
        }
        if (!added_) upload_ = NeffUpload();
        reader_.Read(&message_, this);
        return;
      }
      step_ = Step::kAnswered;
      Answer();
      return;
    case Step::kAnswered:
      EndPart();
      return;
  }
  delete this;  // it never began: gRPC will not speak of it again
}

void LoadCall::EndPart() {
  if (parts_left_.fetch_sub(1) != 1) return;
  if (loaded_ != 0 && context_.IsCancelled()) handler_.TakeBack(loaded_);
  delete this;
}

void LoadCall::Answer() {
  nrt::load_response response;
  const grpc::Status status = Guarded([&] {
    response = handler_.Load(rights_, std::move(added_), std::move(upload_), context_.given_up());
    loaded_ = response.h_nn().id();
    return grpc::Status::OK;
  });
  if (status.ok()) {
    reader_.Finish(response, status, this);
  } else {
    reader_.FinishWithError(status, this);
  }
}

}  // namespace nrtd::service
