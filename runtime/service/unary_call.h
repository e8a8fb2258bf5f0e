// SPDX-License-Identifier: Apache-2.0
//
// A call with one request and one response, from a method of a generated AsyncService to a member
// function of the class that handles it.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/async_unary_call.h>

#include "runtime/service/call_queue.h"

namespace nrtd::service {

// Where the calls of one method come from, and who handles them. Both outlive the calls.
template <typename Service, typename Handler, typename Request, typename Response>
struct UnaryMethod {
  using Await = void (Service::*)(grpc::ServerContext*, Request*,
                                  grpc::ServerAsyncResponseWriter<Response>*,
                                  grpc::CompletionQueue*, grpc::ServerCompletionQueue*, void*);
  using Handle = grpc::Status (Handler::*)(grpc::ServerContext*, const Request*, Response*);
  Service& service;
  Await await;
  Handler& handler;
  Handle handle;
  // What to do when the client gave up before it got to see the answer; null: nothing.
  using TakeBack = void (Handler::*)(const Response&);
  TakeBack take_back = nullptr;
};

template <typename Service, typename Handler, typename Request, typename Response>
class UnaryCall final : public Call {
 public:
  using Method = UnaryMethod<Service, Handler, Request, Response>;

  // Waits for the next call of the method.
  UnaryCall(CallQueue& call_queue, const Method& method)
      : Call(call_queue), method_(method), writer_(&context_) {
    (method_.service.*method_.await)(&context_, &request_, &writer_, queue().completions(),
                                     queue().completions(), this);
  }

  void Proceed(bool ok) override {
    if (answered_ || !ok) {  // not ok: the server was shut down, or the client has gone
      if (answered_ && !ok && method_.take_back != nullptr)
        (method_.handler.*method_.take_back)(response_);
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
  const Method method_;
  grpc::ServerContext context_;
  Request request_;
  Response response_;
  grpc::ServerAsyncResponseWriter<Response> writer_;
  bool answered_ = false;
};

// Serves a method from now on: Serve(queue, service, &Service::Requestx, handler, &Handler::x).
// `take_back`: see UnaryMethod.
template <typename Service, typename Base, typename Handler, typename Request, typename Response>
void Serve(CallQueue& queue, Service& service,
           void (Base::*await)(grpc::ServerContext*, Request*,
                               grpc::ServerAsyncResponseWriter<Response>*, grpc::CompletionQueue*,
                               grpc::ServerCompletionQueue*, void*),
           Handler& handler,
           grpc::Status (Handler::*handle)(grpc::ServerContext*, const Request*, Response*),
           void (Handler::*take_back)(const Response&) = nullptr) {
  new UnaryCall<Base, Handler, Request, Response>(queue,
                                                  {service, await, handler, handle, take_back});
}

}  // namespace nrtd::service
