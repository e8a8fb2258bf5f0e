// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/load_call.h"

namespace nrtd::service {

LoadCall::LoadCall(const CallEnvironment& environment, rpc::RawService& service,
                   Late<NmgrService>& handler)
    : Call(environment.queue),
      environment_(environment),
      service_(service),
      late_handler_(handler) {
  context_.Watch([this] { EndPart(); });
  service_.RequestReader(service_.Method("load"), &context_, &reader_, queue().completions(), this);
}

void LoadCall::Proceed(bool ok) {
  rpc::CallQueue::HandOver();  // no part of it is short
  environment_.deadlines.End(context_.waiter());
  switch (step_) {
    case Step::kAwaited:
      if (!ok) break;
      new LoadCall(environment_, service_, late_handler_);
      Enter();
      return;
    case Step::kReading:
      if (!ok) {
        message_ = {};
        if (queue().BeginLoad(*this)) Run();
        return;
      }
      // The rest of a stream that went wrong is read and dropped, so that the client gets to see
      // the answer.
      if (const grpc::Status taken = rpc::Guarded([this] { return Take(); }); !taken.ok())
        added_ = Fail(Nerr::kResource, "cannot take the NEFF: {}", AsIs(taken.error_message()));
      if (!added_) upload_ = NeffUpload();
      ReadNext();
      return;
    case Step::kAnswered:
      EndPart();
      return;
  }
  delete this;  // it never began: gRPC will not speak of it again
}

// Afterwards this may be gone.
void LoadCall::Enter() {
  grpc::Status refused;
  const Gate::Entry entry =
      environment_.gate.Enter(context_, std::nullopt, queue(), *this, &refused);
  if (entry == Gate::Entry::kNow) {
    Run();
  } else if (entry == Gate::Entry::kNever) {
    Finish(refused, {});
  }
}

grpc::Status LoadCall::Begin() {
  if (grpc::Status begun = environment_.gate.Begin(context_); !begun.ok()) return begun;
  rights_ = environment_.clients.RightsOf(context_);
  handler_ = late_handler_.get();
  if (handler_ == nullptr) added_ = tl::unexpected<Error>(late_handler_.reason());
  upload_ = NeffUpload(context_.client().account);
  const auto entered = context_.admission().Enter(context_.client().account, 0);
  return entered ? grpc::Status::OK : RefusalOf(entered.error());
}

void LoadCall::ReadNext() {
  environment_.deadlines.Begin(context_.waiter(), CallDeadlines::Kind::kNextMessage);
  reader_.Read(&bytes_, this);
}

// One message of the stream; the memory of one that nobody wants goes at once.
grpc::Status LoadCall::Take() {
  environment_.meter.Taken(context_.client(), bytes_.Length());
  if (!added_) {
    bytes_.Clear();
    return grpc::Status::OK;
  }
  added_ = context_.admission().SetBytes(bytes_.Length());
  if (added_) added_ = rpc::Decode(bytes_, message_);
  if (added_) added_ = upload_.Add(message_);
  bytes_.Clear();
  (void)context_.admission().SetBytes(0);
  return grpc::Status::OK;
}

void LoadCall::EndPart() {
  if (parts_left_.fetch_sub(1) != 1) return;
  if (loaded_ != 0 && context_.IsCancelled()) {
    rpc::CallQueue::HandOver();
    handler_->TakeBack(loaded_);
  }
  delete this;
}

// It may begin, or it may compute.
void LoadCall::Run() {
  if (step_ == Step::kAwaited) {
    if (const grpc::Status begun = rpc::Guarded([this] { return Begin(); }); !begun.ok()) {
      Finish(begun, {});
      return;
    }
    step_ = Step::kReading;
    ReadNext();
    return;
  }
  rpc::CallQueue& calls = queue();
  Answer();  // this may be gone
  calls.EndLoad();
}

void LoadCall::Answer() {
  nrt::load_response response;
  const grpc::Status status = rpc::Guarded([&] {
    if (handler_ == nullptr) return Refuse(added_.error(), &response);
    response = handler_->Load(rights_, std::move(added_), std::move(upload_), context_.given_up());
    loaded_ = response.h_nn().id();
    return grpc::Status::OK;
  });
  Finish(status, response);
}

void LoadCall::Finish(const grpc::Status& status, const nrt::load_response& response) {
  step_ = Step::kAnswered;
  grpc::ByteBuffer answer;
  const grpc::Status encoded = rpc::Guarded([&] {
    if (auto bytes = rpc::Encode(response)) answer = std::move(*bytes);
    return grpc::Status::OK;
  });
  environment_.deadlines.Begin(context_.waiter(), CallDeadlines::Kind::kAnswerRead);
  if (status.ok() && encoded.ok()) {
    reader_.Finish(answer, status, this);
  } else {
    reader_.FinishWithError(status.ok() ? encoded : status, this);
  }
}

}  // namespace nrtd::service
