// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <string>
#include <string_view>

#include <google/protobuf/message.h>
#include <grpcpp/impl/service_type.h>
#include <grpcpp/support/async_stream.h>
#include <grpcpp/support/async_unary_call.h>
#include <grpcpp/support/byte_buffer.h>

#include "base/error.h"

namespace nrtd::rpc {

// A service whose calls decode their messages themselves. A call therefore knows a message's size
// before it decodes it, and a message for which there is no memory fails the call instead of
// terminating a gRPC thread. Register it before the server starts; it must outlive the server.
class RawService final : public grpc::Service {
 public:
  using Unary = grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>;
  using Reader = grpc::ServerAsyncReader<grpc::ByteBuffer, grpc::ByteBuffer>;
  using Writer = grpc::ServerAsyncWriter<grpc::ByteBuffer>;
  using Stream = grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>;

  // Provides all methods of `service` ("nrt.nmgr_v1"). The program must refer to the generated code
  // of that service, or the linker drops it.
  explicit RawService(const std::string& service);

  // Returns the number of a method, for the functions below. The method must exist.
  int Method(std::string_view name) const;

  // Each requests the next call of a method; `tag` is delivered when a client makes one.
  void RequestUnary(int method, grpc::ServerContext* context, grpc::ByteBuffer* request,
                    Unary* writer, grpc::ServerCompletionQueue* queue, void* tag) {
    RequestAsyncUnary(method, context, request, writer, queue, queue, tag);
  }
  void RequestReader(int method, grpc::ServerContext* context, Reader* reader,
                     grpc::ServerCompletionQueue* queue, void* tag) {
    RequestAsyncClientStreaming(method, context, reader, queue, queue, tag);
  }
  void RequestWriter(int method, grpc::ServerContext* context, grpc::ByteBuffer* request,
                     Writer* writer, grpc::ServerCompletionQueue* queue, void* tag) {
    RequestAsyncServerStreaming(method, context, request, writer, queue, queue, tag);
  }
  void RequestStream(int method, grpc::ServerContext* context, Stream* stream,
                     grpc::ServerCompletionQueue* queue, void* tag) {
    RequestAsyncBidiStreaming(method, context, stream, queue, queue, tag);
  }

 private:
  std::deque<std::string> paths_;  // "/nrt.nmgr_v1/infer", which gRPC points to
};

// Decodes the message in `bytes` and frees them. kInvalid if they are no such message. Throws
// std::bad_alloc.
Result<void> Decode(grpc::ByteBuffer& bytes, google::protobuf::Message& message);
// kResource for a message of more than 2 GiB. Throws std::bad_alloc.
Result<grpc::ByteBuffer> Encode(const google::protobuf::Message& message);

}  // namespace nrtd::rpc
