// SPDX-License-Identifier: Apache-2.0
//
// Unary calls, each handled by a function.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#include <grpcpp/server_context.h>

#include "rpc/call_queue.h"
#include "rpc/raw_service.h"

namespace nrtd::rpc {

// One call. Owns itself and is deleted once the response was sent.
template <typename Request, typename Response>
class UnaryCall final : public Call, public Deferred, private Task {
 public:
  // Calls Respond(), now or later, from any thread. If it throws, the exception becomes the
  // response; it must not throw once it has responded or arranged to.
  using Handle = std::function<void(UnaryCall& call)>;
  // The calls of one method of a service.
  struct Method {
    CallQueue& queue;
    RawService& service;
    int number;  // RawService::Method()
    // For larger requests the queue is handed over before the request is decoded.
    size_t short_bytes;
    Handle handle;
  };

  // Starts serving a method. `queue` and `service` must outlive its calls.
  static void Serve(CallQueue& queue, RawService& service, std::string_view method,
                    size_t short_bytes, Handle handle) {
    new UnaryCall(std::make_shared<const Method>(
        Method{queue, service, service.Method(method), short_bytes, std::move(handle)}));
  }

  // Waits for the next call.
  explicit UnaryCall(std::shared_ptr<const Method> method)
      : Call(method->queue), method_(std::move(method)) {
    method_->service.RequestUnary(method_->number, &context_, &bytes_, &writer_,
                                  queue().completions(), this);
  }

  const grpc::ServerContext& context() const { return context_; }
  Request& request() { return request_; }
  Response& response() { return response_; }
  CallQueue& queue() const { return method_->queue; }

  void Respond(const grpc::Status& status) override {
    status_ = status;
    if (status_.ok()) {
      status_ = Guarded([&]() -> grpc::Status {
        auto encoded = Encode(response_);
        if (!encoded) return {grpc::StatusCode::RESOURCE_EXHAUSTED, encoded.error().text};
        bytes_ = std::move(*encoded);
        return grpc::Status::OK;
      });
    }
    answered_ = true;
    if (!queue().HoldAnswer(*this)) Run();
  }

  void Proceed(bool ok) override {
    if (answered_ || !ok) {  // sent, or the server was shut down
      delete this;
      return;
    }
    new UnaryCall(method_);
    const grpc::Status status = Guarded([this] { return Begin(); });
    if (!status.ok()) Respond(status);
  }

 private:
  // Sends the answer.
  void Run() override {
    if (status_.ok()) {
      writer_.Finish(bytes_, status_, this);
    } else {
      writer_.FinishWithError(status_, this);
    }
  }

  grpc::Status Begin() {
    if (bytes_.Length() > method_->short_bytes && !CallQueue::TryHandOver())
      return {grpc::StatusCode::RESOURCE_EXHAUSTED, "every thread is taken"};
    if (auto decoded = Decode(bytes_, request_); !decoded)
      return {grpc::StatusCode::INVALID_ARGUMENT, decoded.error().text};
    method_->handle(*this);
    return grpc::Status::OK;
  }

  const std::shared_ptr<const Method> method_;
  grpc::ServerContext context_;
  grpc::ByteBuffer bytes_;  // the request, until it is decoded; then the answer
  grpc::Status status_;     // of the answer
  Request request_;
  Response response_;
  RawService::Unary writer_{&context_};
  bool answered_ = false;
};

}  // namespace nrtd::rpc
