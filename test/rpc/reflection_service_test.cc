// SPDX-License-Identifier: Apache-2.0
#include "rpc/reflection_service.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>

#include "proto/nrt/nmgr.pb.h"
#include "test/rpc/queue_server.h"

namespace nrtd::rpc {
namespace {

namespace reflection = ::grpc::reflection::v1alpha;
using Question = reflection::ServerReflectionRequest;
using Reply = reflection::ServerReflectionResponse;
using ::testing::ElementsAre;

constexpr const char* kOwnName = "grpc.reflection.v1alpha.ServerReflection";

std::vector<std::string> FilesIn(const Reply& response) {
  std::vector<std::string> names;
  for (const std::string& bytes : response.file_descriptor_response().file_descriptor_proto()) {
    google::protobuf::FileDescriptorProto file;
    EXPECT_TRUE(file.ParseFromString(bytes));
    names.push_back(file.name());
  }
  return names;
}

class ReflectionServiceTest : public QueueServerTest {
 protected:
  static Reply Answer(const std::function<void(Question&)>& ask) {
    Question request;
    ask(request);
    return ReflectionService({}).Answer(request);
  }
};

TEST_F(ReflectionServiceTest, OneStreamAsksSeveralQuestions) {
  ReflectionService service({"a.Service"});
  Start(service.service(), 2);
  service.Serve(*queue_);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  const std::unique_ptr<grpc::ClientReaderWriter<Question, Reply>> stream(
      grpc::internal::ClientReaderWriterFactory<Question, Reply>::Create(
          channel_.get(),
          grpc::internal::RpcMethod(
              "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
              grpc::internal::RpcMethod::BIDI_STREAMING, channel_),
          &context));
  Question request;
  Reply response;
  request.set_list_services("*");
  ASSERT_TRUE(stream->Write(request));
  ASSERT_TRUE(stream->Read(&response));
  std::vector<std::string> names;
  for (const auto& listed : response.list_services_response().service())
    names.push_back(listed.name());
  EXPECT_THAT(names, ElementsAre("a.Service", kOwnName));
  request.set_file_containing_symbol(kOwnName);
  ASSERT_TRUE(stream->Write(request));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_THAT(FilesIn(response), ElementsAre("proto/grpc/reflection.proto"));
  EXPECT_EQ(response.original_request().file_containing_symbol(), kOwnName);
  request.set_file_by_filename(std::string(kShortMessage, 'x'));
  ASSERT_TRUE(stream->Write(request));
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ReflectionServiceTest, AFileComesWithThoseThatItImports) {
  const std::string file = nrt::infer_request::descriptor()->file()->name();
  const Reply response = Answer([&](Question& request) { request.set_file_by_filename(file); });
  EXPECT_THAT(FilesIn(response),
              ::testing::IsSupersetOf({file, std::string("proto/nrt/common.proto")}));
}

TEST_F(ReflectionServiceTest, WhatIsNotThereIsNotFound) {
  const auto code = [](const Reply& response) { return response.error_response().error_code(); };
  EXPECT_EQ(code(Answer([](Question& request) { request.set_file_by_filename("none.proto"); })), 5);
  EXPECT_EQ(code(Answer([](Question& request) { request.set_file_containing_symbol("none"); })), 5);
  EXPECT_EQ(code(Answer([](Question& request) {
              request.mutable_file_containing_extension()->set_containing_type("none");
            })),
            5);
  EXPECT_EQ(
      code(Answer([](Question& request) { request.set_all_extension_numbers_of_type("none"); })),
      5);
  EXPECT_EQ(code(Answer([](Question&) {})), 3);
}

TEST_F(ReflectionServiceTest, ExtensionsAreListed) {
  const Reply response = Answer([](Question& request) {
    request.set_all_extension_numbers_of_type("google.protobuf.MessageOptions");
  });
  EXPECT_EQ(response.all_extension_numbers_response().base_type_name(),
            "google.protobuf.MessageOptions");
}

}  // namespace
}  // namespace nrtd::rpc
