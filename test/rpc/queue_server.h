// SPDX-License-Identifier: Apache-2.0
//
// A gRPC server on a unix socket whose calls come out of a CallQueue.
#pragma once

#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/client_unary_call.h>
#include <gtest/gtest.h>

#include "rpc/call_queue.h"
#include "rpc/raw_service.h"
#include "test/base/scratch_directory.h"
#include "test/must.h"

namespace nrtd::rpc {

class QueueServerTest : public ::testing::Test {
 protected:
  // Calls of the service are served by the test from then on.
  void Start(RawService& service, uint32_t max_threads) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
    builder.RegisterService(&service);
    queue_ = std::make_unique<CallQueue>(builder.AddCompletionQueue(), max_threads);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    Must(queue_->Start());
    channel_ = grpc::CreateChannel(address_, grpc::InsecureChannelCredentials());
  }
  void TearDown() override {
    channel_.reset();
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now());
    queue_->Stop();
  }

  template <typename Request, typename Response>
  grpc::Status Ask(const std::string& method, const Request& request, Response* response) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    return grpc::internal::BlockingUnaryCall(
        channel_.get(),
        grpc::internal::RpcMethod(method.c_str(), grpc::internal::RpcMethod::NORMAL_RPC, channel_),
        &context, request, response);
  }

  ScratchDirectory folder_;
  const std::string address_ = "unix:" + folder_.File("server.sock");
  std::unique_ptr<CallQueue> queue_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace nrtd::rpc
