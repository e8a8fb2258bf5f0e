// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/infer_stream_call.h"

#include "runtime/service/status.h"

namespace nrtd::service {

InferStreamCall::InferStreamCall(const CallEnvironment& environment, rpc::RawService& service,
                                 Late<NmgrService>& handler)
    : Call(environment.queue), environment_(environment), service_(service), handler_(handler) {
  context_.Watch([this] { EndPart(); });
  service_.RequestStream(service_.Method("infer_stream"), &context_, &stream_,
                         queue().completions(), this);
}

void InferStreamCall::Proceed(bool ok) {
  environment_.deadlines.End(context_.waiter());
  switch (step_) {
    case Step::kAwaited:
      if (!ok) break;
      new InferStreamCall(environment_, service_, handler_);
      Enter();
      return;
    case Step::kReading:
      if (ok) {
        Answer();
      } else {
        Finish(grpc::Status::OK);
      }
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

// Afterwards this may be gone.
void InferStreamCall::Enter() {
  grpc::Status refused;
  const Gate::Entry entry =
      environment_.gate.Enter(context_, std::nullopt, queue(), *this, &refused);
  if (entry == Gate::Entry::kNow) {
    Run();
  } else if (entry == Gate::Entry::kNever) {
    Finish(refused);
  }
}

void InferStreamCall::Run() {
  if (const grpc::Status begun = rpc::Guarded([this] { return Begin(); }); !begun.ok()) {
    Finish(begun);
    return;
  }
  Read();
}

// A stream is held like a session; each of its inferences is a call.
grpc::Status InferStreamCall::Begin() {
  if (grpc::Status begun = environment_.gate.Begin(context_); !begun.ok()) return begun;
  const auto& account = context_.client().account;
  if (account == nullptr) return grpc::Status::OK;
  auto charge = account->Take(runtime::Holding::kSessions);
  if (!charge) return RefusalOf(charge.error());
  charge_ = std::move(*charge);
  return grpc::Status::OK;
}

// Begins with the request in `bytes_`; Respond() comes when the inference has ended.
grpc::Status InferStreamCall::Handle() {
  environment_.meter.Taken(context_.client(), bytes_.Length());
  if (grpc::Status serving = environment_.gate.CheckServing(); !serving.ok()) return serving;
  if (auto entered = context_.admission().Enter(context_.client().account, bytes_.Length());
      !entered)
    return RefusalOf(entered.error());
  NmgrService* const handler = handler_.get();
  if (handler == nullptr) {
    if (grpc::Status refused = Refuse(handler_.reason(), &response_); !refused.ok()) return refused;
    Respond(grpc::Status::OK);
    return grpc::Status::OK;
  }
  if (bytes_.Length() > rpc::kShortMessage) rpc::CallQueue::HandOver();
  if (auto decoded = rpc::Decode(bytes_, request_); !decoded) return RefusalOf(decoded.error());
  handler->infer(&context_, &request_, &response_, wait_);
  return grpc::Status::OK;
}

// The response into `bytes_`.
grpc::Status InferStreamCall::EncodeResponse() {
  auto encoded = rpc::Encode(response_);
  if (!encoded) {
    response_ = {};
    SetStatus(encoded.error(), response_.mutable_status());
    encoded = rpc::Encode(response_);
  }
  if (!encoded) return RefusalOf(encoded.error());
  bytes_ = std::move(*encoded);
  response_ = {};
  request_ = {};
  const auto charged = context_.admission().SetBytes(bytes_.Length());
  return charged ? grpc::Status::OK : RefusalOf(charged.error());
}

void InferStreamCall::Answer() {
  response_.Clear();
  // The stream may have gone on when this returns.
  const grpc::Status status = rpc::Guarded([this] { return Handle(); });
  if (!status.ok()) Finish(status);
}

void InferStreamCall::Respond(const grpc::Status& ended) {
  const grpc::Status status =
      ended.ok() ? rpc::Guarded([this] { return EncodeResponse(); }) : ended;
  if (!status.ok()) {
    Finish(status);
    return;
  }
  step_ = Step::kWriting;
  environment_.deadlines.Begin(context_.waiter(), CallDeadlines::Kind::kAnswerRead);
  stream_.Write(bytes_, this);
}

void InferStreamCall::Read() {
  step_ = Step::kReading;
  bytes_.Clear();
  context_.admission().Leave();
  stream_.Read(&bytes_, this);
}

void InferStreamCall::Finish(const grpc::Status& status) {
  step_ = Step::kAnswered;
  bytes_.Clear();
  charge_.Release();
  environment_.deadlines.Begin(context_.waiter(), CallDeadlines::Kind::kAnswerRead);
  stream_.Finish(status, this);
}

}  // namespace nrtd::service
