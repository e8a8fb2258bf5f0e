// SPDX-License-Identifier: Apache-2.0
#include "rpc/reflection_service.h"

#include <set>
#include <utility>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/server_context.h>

namespace nrtd::rpc {
namespace {

namespace reflection = ::grpc::reflection::v1alpha;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using Request = reflection::ServerReflectionRequest;
using Response = reflection::ServerReflectionResponse;

constexpr const char* kName = "grpc.reflection.v1alpha.ServerReflection";

// Adds a file and everything it imports, each once.
void AddFiles(const FileDescriptor& file, std::set<std::string>& seen,
              reflection::FileDescriptorResponse& answer) {
  if (!seen.insert(file.name()).second) return;
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  answer.add_file_descriptor_proto(proto.SerializeAsString());
  for (int i = 0; i < file.dependency_count(); ++i) AddFiles(*file.dependency(i), seen, answer);
}

// Null if there is none.
void AddFileOrError(const FileDescriptor* file, const std::string& what, Response& response) {
  if (file != nullptr) {
    std::set<std::string> seen;
    AddFiles(*file, seen, *response.mutable_file_descriptor_response());
    return;
  }
  reflection::ErrorResponse& error = *response.mutable_error_response();
  error.set_error_code(grpc::StatusCode::NOT_FOUND);
  error.set_error_message(what + " not found.");
}

void AddExtensionNumbers(const std::string& type, Response& response) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  const auto* const message = pool.FindMessageTypeByName(type);
  if (message == nullptr) {
    AddFileOrError(nullptr, "Type", response);
    return;
  }
  std::vector<const FieldDescriptor*> extensions;
  pool.FindAllExtensions(message, &extensions);
  reflection::ExtensionNumberResponse& answer = *response.mutable_all_extension_numbers_response();
  answer.set_base_type_name(type);
  for (const FieldDescriptor* extension : extensions)
    answer.add_extension_number(extension->number());
}

// One client's stream: reads and answers its requests one after the other.
class ReflectionCall final : public Call {
 public:
  ReflectionCall(ReflectionService& service, CallQueue& queue) : Call(queue), service_(service) {
    service_.service().RequestStream(0, &context_, &stream_, queue.completions(), this);
  }

  void Proceed(bool ok) override {
    switch (std::exchange(under_way_, Operation::kRead)) {
      case Operation::kRequest:
        if (!ok) {
          delete this;  // the server is shutting down
          return;
        }
        new ReflectionCall(service_, queue());
        stream_.Read(&bytes_, this);
        break;
      case Operation::kRead:
        if (ok) {
          Answer();
        } else {
          Finish(grpc::Status::OK);
        }
        break;
      case Operation::kWrite:
        stream_.Read(&bytes_, this);  // fails if the client has disconnected
        break;
      case Operation::kFinish:
        delete this;
        break;
    }
  }

 private:
  enum class Operation { kRequest, kRead, kWrite, kFinish };

  void Answer() {
    grpc::ByteBuffer answer;
    const grpc::Status status = Guarded([&]() -> grpc::Status {
      Request request;
      if (bytes_.Length() > kShortMessage)
        return {grpc::StatusCode::INVALID_ARGUMENT, "the question is too long"};
      if (auto decoded = Decode(bytes_, request); !decoded)
        return {grpc::StatusCode::INVALID_ARGUMENT, decoded.error().text};
      auto encoded = Encode(service_.Answer(request));
      if (!encoded) return {grpc::StatusCode::RESOURCE_EXHAUSTED, encoded.error().text};
      answer = std::move(*encoded);
      return grpc::Status::OK;
    });
    if (!status.ok()) {
      Finish(status);
      return;
    }
    under_way_ = Operation::kWrite;
    stream_.Write(answer, this);
  }

  void Finish(const grpc::Status& status) {
    under_way_ = Operation::kFinish;
    stream_.Finish(status, this);
  }

  ReflectionService& service_;
  grpc::ServerContext context_;
  grpc::ByteBuffer bytes_;
  RawService::Stream stream_{&context_};
  Operation under_way_ = Operation::kRequest;
};

}  // namespace

ReflectionService::ReflectionService(std::vector<std::string> services)
    : services_(std::move(services)), service_(kName) {
  services_.emplace_back(kName);
}

void ReflectionService::Serve(CallQueue& queue) {
  new ReflectionCall(*this, queue);
}

Response ReflectionService::Answer(const Request& request) const {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  Response response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case Request::kFileByFilename:
      AddFileOrError(pool.FindFileByName(request.file_by_filename()), "File", response);
      break;
    case Request::kFileContainingSymbol:
      AddFileOrError(pool.FindFileContainingSymbol(request.file_containing_symbol()), "Symbol",
                     response);
      break;
    case Request::kFileContainingExtension: {
      const auto& asked = request.file_containing_extension();
      const auto* const type = pool.FindMessageTypeByName(asked.containing_type());
      const FieldDescriptor* const extension =
          type == nullptr ? nullptr : pool.FindExtensionByNumber(type, asked.extension_number());
      AddFileOrError(extension == nullptr ? nullptr : extension->file(), "Extension", response);
      break;
    }
    case Request::kAllExtensionNumbersOfType:
      AddExtensionNumbers(request.all_extension_numbers_of_type(), response);
      break;
    case Request::kListServices:
      for (const std::string& service : services_)
        response.mutable_list_services_response()->add_service()->set_name(service);
      break;
    case Request::MESSAGE_REQUEST_NOT_SET:
      response.mutable_error_response()->set_error_code(grpc::StatusCode::INVALID_ARGUMENT);
      response.mutable_error_response()->set_error_message("the request asks for nothing");
      break;
  }
  return response;
}

}  // namespace nrtd::rpc
