// SPDX-License-Identifier: Apache-2.0
//
// A call with one request and one response, from a method of a generated AsyncService to a member
// function of the class that handles it.
#pragma once

#include <atomic>

#include <grpcpp/support/async_unary_call.h>

#include "runtime/service/call_context.h"
#include "runtime/service/call_queue.h"

namespace nrtd::service {

// What becomes of a call whose client gives up.
template <typename Handler, typename Response>
struct UnaryOptions {
  // Called with an answer that nobody got to see; null: nothing.
  void (Handler::*take_back)(const Response&) = nullptr;
  // The handler looks at CallContext::given_up(), which costs an event of the queue.
  bool watched = false;
};

// Where the calls of one method come from, and who handles them. Both outlive the calls.
template <typename Service, typename Handler, typename Context, typename Request, typename Response>
struct UnaryMethod {
  using Await = void (Service::*)(grpc::ServerContext*, Request*,
                                  grpc::ServerAsyncResponseWriter<Response>*,
                                  grpc::CompletionQueue*, grpc::ServerCompletionQueue*, void*);
  using Handle = grpc::Status (Handler::*)(Context*, const Request*, Response*);
  Service& service;
  Await await;
  Handler& handler;
  Handle handle;
  UnaryOptions<Handler, Response> options;
};

template <typename Service, typename Handler, typename Context, typename Request, typename Response>
class UnaryCall final : public Call {
 public:
  using Method = UnaryMethod<Service, Handler, Context, Request, Response>;

  // Waits for the next call of the method.
  UnaryCall(CallQueue& call_queue, const Method& method)
      : Call(call_queue),
        method_(method),
        writer_(&context_),
        parts_left_(method.options.watched ? 2 : 1) {
    if (method_.options.watched) context_.Watch([this] { EndPart(); });
    (method_.service.*method_.await)(&context_, &request_, &writer_, queue().completions(),
                                     queue().completions(), this);
  }

  void Proceed(bool ok) override {
    if (answered_) {  // not ok: the client has gone
      if (!ok && method_.options.take_back != nullptr)
        (method_.handler.*method_.options.take_back)(response_);
      EndPart();
      return;
    }
    if (!ok) {  // the server was shut down
      delete this;
      return;
    }
    new UnaryCall(queue(), method_);
    const grpc::Status status = Guarded(
        [this] { return (method_.handler.*method_.handle)(&context_, &request_, &response_); });
    answered_ = true;
    if (status.ok()) {
      writer_.Finish(response_, status, this);
    } else {
      writer_.FinishWithError(status, this);
    }
  }

 private:
  // The answer is sent; of a call that is watched, gRPC is done as well. The last one deletes this.
  void EndPart() {
    if (parts_left_.fetch_sub(1) == 1) delete this;
  }

  const Method method_;
  CallContext context_;
  Request request_;
  Response response_;
  grpc::ServerAsyncResponseWriter<Response> writer_;
  bool answered_ = false;
  std::atomic<int> parts_left_;
};

// Serves a method from now on: Serve(queue, service, &Service::Requestx, handler, &Handler::x).
template <typename Service, typename Base, typename Handler, typename Context, typename Request,
          typename Response>
void Serve(CallQueue& queue, Service& service,
           void (Base::*await)(grpc::ServerContext*, Request*,
                               grpc::ServerAsyncResponseWriter<Response>*, grpc::CompletionQueue*,
                               grpc::ServerCompletionQueue*, void*),
           Handler& handler, grpc::Status (Handler::*handle)(Context*, const Request*, Response*),
           UnaryOptions<Handler, Response> options = {}) {
  new UnaryCall<Base, Handler, Context, Request, Response>(
      queue, {service, await, handler, handle, options});
}

}  // namespace nrtd::service
