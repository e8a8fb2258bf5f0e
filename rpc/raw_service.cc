// SPDX-License-Identifier: Apache-2.0
#include "rpc/raw_service.h"

#include <cstdlib>

#include <google/protobuf/descriptor.h>
#include <grpcpp/impl/rpc_service_method.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/proto_buffer_writer.h>

#include "base/log.h"

namespace nrtd::rpc {
namespace {

const google::protobuf::ServiceDescriptor& FindService(const std::string& name) {
  const auto* const service =
      google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(name);
  if (service == nullptr) std::abort();
  return *service;
}

grpc::internal::RpcMethod::RpcType TypeOf(const google::protobuf::MethodDescriptor& method) {
  using grpc::internal::RpcMethod;
  if (method.client_streaming() && method.server_streaming()) return RpcMethod::BIDI_STREAMING;
  if (method.client_streaming()) return RpcMethod::CLIENT_STREAMING;
  if (method.server_streaming()) return RpcMethod::SERVER_STREAMING;
  return RpcMethod::NORMAL_RPC;
}

}  // namespace

RawService::RawService(const std::string& service) {
  const google::protobuf::ServiceDescriptor& description = FindService(service);
  for (int i = 0; i < description.method_count(); ++i) {
    const google::protobuf::MethodDescriptor& method = *description.method(i);
    paths_.push_back(fmt::format("/{}/{}", service, method.name()));
    AddMethod(new grpc::internal::RpcServiceMethod(paths_.back().c_str(), TypeOf(method), nullptr));
    MarkMethodRaw(i);
  }
}

int RawService::Method(std::string_view name) const {
  for (size_t i = 0; i < paths_.size(); ++i) {
    if (paths_[i].ends_with(fmt::format("/{}", name))) return static_cast<int>(i);
  }
  std::abort();
}

Result<void> Decode(grpc::ByteBuffer& bytes, google::protobuf::Message& message) {
  bool decoded = false;
  {
    grpc::ProtoBufferReader reader(&bytes);
    decoded = reader.status().ok() && message.ParseFromZeroCopyStream(&reader);
  }
  bytes.Clear();
  if (decoded) return {};
  return Fail(Nerr::kInvalid, "the request is no {}", message.GetTypeName());
}

Result<grpc::ByteBuffer> Encode(const google::protobuf::Message& message) {
  constexpr int kBlock = 1 << 20;  // gRPC's own for messages (kProtoBufferWriterMaxBufferLength)
  const size_t size = message.ByteSizeLong();
  if (size > INT32_MAX) {
    return Fail(Nerr::kResource, "a message of {} bytes is too large for gRPC: use shared memory",
                size);
  }
  grpc::ByteBuffer bytes;
  if (size <= kBlock) {
    grpc::Slice slice(size);
    message.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(slice.begin()));
    return grpc::ByteBuffer(&slice, 1);
  }
  grpc::ProtoBufferWriter writer(&bytes, kBlock, static_cast<int>(size));
  if (!message.SerializeToZeroCopyStream(&writer))
    return Fail(Nerr::kResource, "a message of {} bytes cannot be encoded", size);
  return bytes;
}

}  // namespace nrtd::rpc
