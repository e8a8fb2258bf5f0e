// SPDX-License-Identifier: Apache-2.0
//
// A call with one request and one response, from a method of a service to a member function of the
// class that handles it.
#pragma once

#include <atomic>
#include <type_traits>

#include "rpc/call_queue.h"
#include "rpc/raw_service.h"
#include "runtime/service/call_context.h"
#include "runtime/service/clients.h"
#include "runtime/service/gate.h"
#include "runtime/service/inference_wait.h"
#include "runtime/service/late.h"
#include "runtime/service/socket_meter.h"

namespace nrtd::service {

// What every call of a server uses. All outlive the calls.
struct CallEnvironment {
  rpc::CallQueue& queue;
  Clients& clients;
  CallDeadlines& deadlines;
  SocketMeter& meter;
  Gate& gate;
};

// What becomes of a call whose client gives up.
template <typename Handler, typename Response>
struct UnaryOptions {
  // Called with an answer that nobody got to see; null: nothing.
  void (Handler::*take_back)(const Response&) = nullptr;
  // The handler looks at CallContext::given_up(), which costs an event of the queue.
  bool watched = false;
  // It belongs to an inference: as often as the client likes.
  bool inference = false;
  // It collects results: also while the daemon ends.
  bool collects = false;
};

// How a method is handled: at once; later, by means of a rpc::Deferred; or as an inference.
template <typename Handler, typename Context, typename Request, typename Response>
using HandleNow = grpc::Status (Handler::*)(Context*, const Request*, Response*);
template <typename Handler, typename Context, typename Request, typename Response>
using HandleLater = void (Handler::*)(Context*, const Request*, Response*, rpc::Deferred&);
template <typename Handler, typename Context, typename Request, typename Response>
using HandleInference = void (Handler::*)(Context*, const Request*, Response*, InferenceWait&);

// For calls that are no inferences.
struct NoWait {
  NoWait(rpc::CallQueue&, rpc::Deferred&) {}
};

// Where the calls of one method come from, and who handles them. All outlive the calls.
template <typename Handler, typename Request, typename Response, typename Handle>
struct UnaryMethod {
  CallEnvironment environment;
  rpc::RawService& service;
  int number;  // rpc::RawService::Method()
  Late<Handler>& handler;
  Handle handle;
  UnaryOptions<Handler, Response> options;
};

template <typename Handler, typename Request, typename Response, typename Handle>
class UnaryCall final : public rpc::Call, private rpc::Deferred, private rpc::Task {
  static constexpr bool kNow =
      std::is_invocable_v<Handle, Handler&, CallContext*, const Request*, Response*>;
  static constexpr bool kInference = std::is_invocable_v<Handle, Handler&, CallContext*,
                                                         const Request*, Response*, InferenceWait&>;

 public:
  using Method = UnaryMethod<Handler, Request, Response, Handle>;

  // Waits for the next call of the method.
  explicit UnaryCall(const Method& method)
      : Call(method.environment.queue),
        method_(method),
        counts_(!kInference && !method.options.inference),
        writer_(&context_),
        parts_left_(method.options.watched || counts_ ? 2 : 1) {
    if (parts_left_ == 2) context_.Watch([this] { EndPart(); });
    method_.service.RequestUnary(method_.number, &context_, &bytes_, &writer_,
                                 queue().completions(), this);
  }

  void Proceed(bool ok) override {
    if (answered_) {  // not ok: the client has gone
      method_.environment.deadlines.End(context_.waiter());
      Handler* const handler = method_.handler.get();
      if (!ok && handler != nullptr && method_.options.take_back != nullptr)
        (handler->*method_.options.take_back)(response_);
      EndPart();
      return;
    }
    if (!ok) {  // the server was shut down
      delete this;
      return;
    }
    new UnaryCall(method_);
    grpc::Status refused;
    const Gate::Entry entry = Enter(&refused);
    if (entry == Gate::Entry::kNow) {
      Run();
    } else if (entry == Gate::Entry::kNever) {
      Answer(refused);
    }
  }

 private:
  // Afterwards this may be gone, if the call is to begin later.
  Gate::Entry Enter(grpc::Status* refused) {
    Gate& gate = method_.environment.gate;
    if (counts_) return gate.Enter(context_, bytes_.Length(), queue(), *this, refused);
    return gate.EnterFreely(context_, bytes_.Length(), method_.options.collects, refused);
  }

  // Begins the call.
  void Run() override {
    // The handler may have answered when it returns, and this may be gone: unless it failed.
    const grpc::Status status = rpc::Guarded([this] {
      if (grpc::Status begun = method_.environment.gate.Begin(context_); !begun.ok()) return begun;
      const auto& account = context_.client().account;
      if (auto entered = context_.admission().Enter(account, bytes_.Length()); !entered)
        return RefusalOf(entered.error());
      return HandleCall();
    });
    if (kNow || !status.ok()) Answer(status);
  }

  // Decodes and handles it.
  grpc::Status HandleCall() {
    Handler* const handler = method_.handler.get();
    if (handler == nullptr) {
      const grpc::Status refused = Refuse(method_.handler.reason(), &response_);
      if constexpr (!kNow) {
        if (refused.ok()) Respond(refused);  // this may be gone then
      }
      return refused;
    }
    const bool is_short = kInference || method_.options.inference;
    if (!is_short || bytes_.Length() > rpc::kShortMessage) rpc::CallQueue::HandOver();
    if (auto decoded = rpc::Decode(bytes_, request_); !decoded) return RefusalOf(decoded.error());
    if constexpr (kNow) {
      return (handler->*method_.handle)(&context_, &request_, &response_);
    } else if constexpr (kInference) {
      (handler->*method_.handle)(&context_, &request_, &response_, wait_);
      return grpc::Status::OK;
    } else {
      (handler->*method_.handle)(&context_, &request_, &response_, *this);
      return grpc::Status::OK;
    }
  }

  void Respond(const grpc::Status& status) override { Answer(status); }

  // Sends the response, or an error of the transport.
  void Answer(grpc::Status status) {
    grpc::ByteBuffer answer;
    if (status.ok()) status = rpc::Guarded([&] { return EncodeAnswer(&answer); });
    answered_ = true;
    method_.environment.deadlines.Begin(context_.waiter(), CallDeadlines::Kind::kAnswerRead);
    if (status.ok()) {
      writer_.Finish(answer, status, this);
    } else {
      writer_.FinishWithError(status, this);
    }
  }

  grpc::Status EncodeAnswer(grpc::ByteBuffer* answer) {
    request_ = Request();  // its memory goes before the answer's comes
    auto encoded = rpc::Encode(response_);
    if (encoded) {
      *answer = std::move(*encoded);
      if (auto charged = context_.admission().SetBytes(answer->Length()); charged)
        return grpc::Status::OK;
      else
        encoded = tl::unexpected<Error>(std::move(charged.error()));
    }
    answer->Clear();
    return RefusalOf(encoded.error());
  }

  // The answer is sent; of a call that is watched, gRPC is done as well. The last one deletes this.
  void EndPart() {
    if (parts_left_.fetch_sub(1) == 1) delete this;
  }

  const Method method_;
  const bool counts_;  // in the client's rate
  CallContext context_;
  grpc::ByteBuffer bytes_;  // the request, until it is decoded
  Request request_;
  Response response_;
  rpc::RawService::Unary writer_;
  bool answered_ = false;
  std::atomic<int> parts_left_;
  [[no_unique_address]] std::conditional_t<kInference, InferenceWait, NoWait> wait_{queue(), *this};
};

// Serves a method from now on: Serve(environment, service, "infer", handler, &Handler::infer).
template <typename Handler, typename Base, typename Context, typename Request, typename Response>
void Serve(const CallEnvironment& environment, rpc::RawService& service, std::string_view method,
           Late<Handler>& handler, HandleNow<Base, Context, Request, Response> handle,
           UnaryOptions<Handler, Response> options = {}) {
  new UnaryCall<Handler, Request, Response, decltype(handle)>(
      {environment, service, service.Method(method), handler, handle, options});
}
template <typename Handler, typename Base, typename Context, typename Request, typename Response>
void Serve(const CallEnvironment& environment, rpc::RawService& service, std::string_view method,
           Late<Handler>& handler, HandleLater<Base, Context, Request, Response> handle,
           UnaryOptions<Handler, Response> options = {}) {
  new UnaryCall<Handler, Request, Response, decltype(handle)>(
      {environment, service, service.Method(method), handler, handle, options});
}
template <typename Handler, typename Base, typename Context, typename Request, typename Response>
void Serve(const CallEnvironment& environment, rpc::RawService& service, std::string_view method,
           Late<Handler>& handler, HandleInference<Base, Context, Request, Response> handle,
           UnaryOptions<Handler, Response> options = {}) {
  new UnaryCall<Handler, Request, Response, decltype(handle)>(
      {environment, service, service.Method(method), handler, handle, options});
}

}  // namespace nrtd::service
