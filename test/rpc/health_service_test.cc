// SPDX-License-Identifier: Apache-2.0
#include "rpc/health_service.h"

#include "proto/grpc/health.pb.h"
#include "test/rpc/queue_server.h"

namespace nrtd::rpc {
namespace {

using Request = ::grpc::health::v1::HealthCheckRequest;
using Response = ::grpc::health::v1::HealthCheckResponse;

class HealthServiceTest : public QueueServerTest {
 protected:
  void SetUp() override {
    Start(health_.service(), 2);
    health_.Serve(*queue_);
  }
  grpc::Status Check(const std::string& service, Response* response) {
    Request request;
    request.set_service(service);
    return Ask("/grpc.health.v1.Health/Check", request, response);
  }
  struct Watch {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<Response>> reader;
    Response::ServingStatus Next() {
      Response response;
      EXPECT_TRUE(reader->Read(&response));
      return response.status();
    }
  };
  std::unique_ptr<Watch> StartWatch(const std::string& service) {
    auto watch = std::make_unique<Watch>();
    watch->context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    Request request;
    request.set_service(service);
    watch->reader.reset(grpc::internal::ClientReaderFactory<Response>::Create(
        channel_.get(),
        grpc::internal::RpcMethod("/grpc.health.v1.Health/Watch",
                                  grpc::internal::RpcMethod::SERVER_STREAMING, channel_),
        &watch->context, request));
    return watch;
  }

  HealthService health_{{"a.Service"}};
};

TEST_F(HealthServiceTest, ServesUntilItIsShutDown) {
  Response response;
  for (const char* service : {"", "a.Service"}) {
    ASSERT_TRUE(Check(service, &response).ok());
    EXPECT_EQ(response.status(), Response::SERVING);
  }
  health_.ShutDown();
  ASSERT_TRUE(Check("a.Service", &response).ok());
  EXPECT_EQ(response.status(), Response::NOT_SERVING);
}

TEST_F(HealthServiceTest, AnUnknownServiceIsNotFound) {
  Response response;
  const grpc::Status status = Check("another", &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "service name unknown");
  EXPECT_EQ(StartWatch("another")->Next(), Response::SERVICE_UNKNOWN);
}

TEST_F(HealthServiceTest, WhoWatchesIsToldOfTheEnd) {
  const auto first = StartWatch("");
  const auto second = StartWatch("a.Service");
  EXPECT_EQ(first->Next(), Response::SERVING);
  EXPECT_EQ(second->Next(), Response::SERVING);
  health_.ShutDown();
  for (Watch* watch : {first.get(), second.get()}) {
    EXPECT_EQ(watch->Next(), Response::NOT_SERVING);
    Response none;
    EXPECT_FALSE(watch->reader->Read(&none));
    EXPECT_EQ(watch->reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
}

TEST_F(HealthServiceTest, WhoWatchesTooLateIsToldAtOnce) {
  health_.ShutDown();
  const auto watch = StartWatch("");
  EXPECT_EQ(watch->Next(), Response::NOT_SERVING);
  Response none;
  EXPECT_FALSE(watch->reader->Read(&none));
  EXPECT_EQ(watch->reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

// TearDown() waits for every call.
TEST_F(HealthServiceTest, WatchesThatAreGivenUpLeaveNothing) {
  for (int i = 0; i < 100; ++i) {
    const auto watch = StartWatch("");
    if (i % 2 == 0) {
      EXPECT_EQ(watch->Next(), Response::SERVING);
    }
    watch->context.TryCancel();
    EXPECT_EQ(watch->reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  health_.ShutDown();
}

}  // namespace
}  // namespace nrtd::rpc
