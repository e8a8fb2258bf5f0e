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

// A service whose messages stay bytes until its calls decode them themselves: their size is known
// before that, and a message that cannot be decoded for want of memory ends its call and not a
// thread of gRPC. Registered with the server before that starts, and outlives it.
class RawService final : public grpc::Service {
 public:
  using Unary = grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>;
  using Reader = grpc::ServerAsyncReader<grpc::ByteBuffer, grpc::ByteBuffer>;
  using Writer = grpc::ServerAsyncWriter<grpc::ByteBuffer>;
  using Stream = grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>;

  // All methods of `service` ("nrt.nmgr_v1"). The program names something of the generated code, or
  // the linker leaves it out.
  explicit RawService(const std::string& service);

  // The number of a method for the calls below. It exists.
  int Method(std::string_view name) const;

  // Each asks for the next call of a method; `tag` comes out of the queue when there is one.
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

// The message in `bytes`, whose memory is freed. kInvalid when it is none of this type. Throws
// std::bad_alloc.
Result<void> Decode(grpc::ByteBuffer& bytes, google::protobuf::Message& message);
// kResource for a message of more than 2 GiB. Throws std::bad_alloc.
Result<grpc::ByteBuffer> Encode(const google::protobuf::Message& message);

}  // namespace nrtd::rpc
