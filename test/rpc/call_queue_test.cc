// SPDX-License-Identifier: Apache-2.0
#include "rpc/call_queue.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <latch>
#include <set>
#include <thread>
#include <vector>

#include <gmock/gmock.h>

#include "base/mutex.h"
#include "proto/grpc/health.pb.h"
#include "rpc/unary_call.h"
#include "test/rpc/queue_server.h"

namespace nrtd::rpc {
namespace {

using Request = ::grpc::health::v1::HealthCheckRequest;
using Response = ::grpc::health::v1::HealthCheckResponse;
using AnyCall = UnaryCall<Request, Response>;

// Health's messages, and calls that do what the test says.
class CallQueueTest : public QueueServerTest {
 protected:
  void Serve(uint32_t max_threads, AnyCall::Handle handle) {
    Start(service_, max_threads);
    AnyCall::Serve(*queue_, service_, "Check", kShortMessage, std::move(handle));
  }
  grpc::Status Call(const std::string& service) {
    Request request;
    request.set_service(service);
    Response response;
    return Ask("/grpc.health.v1.Health/Check", request, &response);
  }
  std::future<grpc::Status> CallLater(const std::string& service) {
    return std::async(std::launch::async, [this, service] { return Call(service); });
  }

  RawService service_{"grpc.health.v1.Health"};
};

TEST_F(CallQueueTest, ShortCallsAreHandledByOneThread) {
  Mutex mutex;
  std::set<std::thread::id> threads;
  Serve(64, [&](AnyCall& call) {
    {
      MutexLock lock(mutex);
      threads.insert(std::this_thread::get_id());
    }
    call.Respond(grpc::Status::OK);
  });
  std::vector<std::future<grpc::Status>> calls;
  for (int i = 0; i < 100; ++i) calls.push_back(CallLater(""));
  for (auto& call : calls) EXPECT_TRUE(call.get().ok());
  MutexLock lock(mutex);
  EXPECT_EQ(threads.size(), 1U);
}

// gRPC cancels what arrives just when the server shuts down.
TEST_F(CallQueueTest, WhoAsksOneThingAfterTheOtherSeesNoCallCancelledAtTheEnd) {
  constexpr int kRounds = 10;
  constexpr int kClients = 8;
  std::vector<std::unique_ptr<RawService>> services;
  for (int round = 0; round < kRounds; ++round) {
    services.push_back(std::make_unique<RawService>("grpc.health.v1.Health"));
    Start(*services.back(), 64);
    AnyCall::Serve(*queue_, *services.back(), "Check", kShortMessage,
                   [](AnyCall& call) { call.Respond(grpc::Status::OK); });
    std::latch asking(kClients);
    std::vector<std::future<grpc::Status>> clients;
    for (int i = 0; i < kClients; ++i) {
      clients.push_back(std::async(std::launch::async, [&] {
        grpc::Status status = Call("");
        asking.count_down();
        while (status.ok()) status = Call("");
        return status;
      }));
    }
    asking.wait();
    queue_->ShutDown(*server_, std::chrono::seconds(10));
    for (auto& client : clients)
      EXPECT_EQ(client.get().error_code(), grpc::StatusCode::UNAVAILABLE) << "round " << round;
    queue_->Stop();
    server_.reset();
    queue_.reset();
  }
}

TEST_F(CallQueueTest, WhileOneCallWaitsOthersAreHandled) {
  std::promise<void> other_came;
  Serve(2, [&](AnyCall& call) {
    if (call.request().service() == "waits") {
      EXPECT_TRUE(CallQueue::TryHandOver());
      other_came.get_future().wait();
    } else {
      other_came.set_value();
    }
    call.Respond(grpc::Status::OK);
  });
  auto waits = CallLater("waits");
  EXPECT_TRUE(Call("other").ok());
  EXPECT_TRUE(waits.get().ok());
}

// With two threads, one of which waits, the other one must stay at the queue.
TEST_F(CallQueueTest, ACallThatMustNotWaitIsToldSo) {
  std::promise<void> waiting;
  std::promise<void> go_on;
  Serve(2, [&](AnyCall& call) {
    if (call.request().service() == "waits") {
      CallQueue::HandOver();
      waiting.set_value();
      go_on.get_future().wait();
      call.Respond(grpc::Status::OK);
    } else if (CallQueue::TryHandOver()) {
      call.Respond(grpc::Status::OK);
    } else {
      call.Respond({grpc::StatusCode::RESOURCE_EXHAUSTED, "no thread is left"});
    }
  });
  auto waits = CallLater("waits");
  waiting.get_future().wait();
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(Call("other").error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  go_on.set_value();
  EXPECT_TRUE(waits.get().ok());
  // The thread that waited may still be on its way back.
  while (!Call("other").ok()) {
  }
}

// Whoever hands over without asking leaves the queue alone until it is through.
TEST_F(CallQueueTest, WhereAllThreadsAreTakenCallsWait) {
  std::latch both(2);
  std::promise<void> first_done;
  std::shared_future<void> done = first_done.get_future().share();
  std::atomic<int> handled{0};
  Serve(2, [&](AnyCall& call) {
    CallQueue::HandOver();
    if (call.request().service() == "long") {
      both.count_down();
      done.wait();
    }
    ++handled;
    call.Respond(grpc::Status::OK);
  });
  auto first = CallLater("long");
  auto second = CallLater("long");
  both.wait();
  auto third = CallLater("short");
  EXPECT_EQ(handled, 0);
  first_done.set_value();
  EXPECT_TRUE(first.get().ok());
  EXPECT_TRUE(second.get().ok());
  EXPECT_TRUE(third.get().ok());
}

// Nobody took the queue, so this thread has to come back to it.
TEST_F(CallQueueTest, AThreadThatHandedOverInVainMustNotWait) {
  std::promise<void> waiting;
  std::promise<void> go_on;
  Serve(2, [&](AnyCall& call) {
    CallQueue::HandOver();
    if (call.request().service() == "waits") {
      waiting.set_value();
      go_on.get_future().wait();
    } else {
      EXPECT_FALSE(CallQueue::TryHandOver());
      EXPECT_FALSE(CallQueue::TryHandOver());
    }
    call.Respond(grpc::Status::OK);
  });
  auto waits = CallLater("waits");
  waiting.get_future().wait();
  EXPECT_TRUE(Call("other").ok());
  go_on.set_value();
  EXPECT_TRUE(waits.get().ok());
}

// However often threads take turns, one waits for events and not two.
TEST_F(CallQueueTest, ThreadsThatTakeTurnsStayOneAtTheQueue) {
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  Serve(8, [&](AnyCall& call) {
    if (call.request().service() == "long") {
      CallQueue::HandOver();
    } else {
      most = std::max(most.load(), ++inside);
      std::this_thread::yield();
      --inside;
    }
    call.Respond(grpc::Status::OK);
  });
  const auto ask = [&](const std::string& what, int rounds) {
    std::vector<std::thread> clients;
    for (int i = 0; i < 8; ++i) {
      clients.emplace_back([&, rounds] {
        for (int round = 0; round < rounds; ++round) EXPECT_TRUE(Call(what).ok());
      });
    }
    for (std::thread& client : clients) client.join();
  };
  ask("long", 100);
  ask("short", 100);
  EXPECT_EQ(most, 1);
}

TEST_F(CallQueueTest, AQueueThatNeverStartedMayGo) {
  grpc::ServerBuilder builder;
  const CallQueue queue(builder.AddCompletionQueue(), 2);
}

TEST_F(CallQueueTest, AThreadOfNoQueueHasNothingToHandOver) {
  CallQueue::HandOver();
  EXPECT_TRUE(CallQueue::TryHandOver());
}

TEST_F(CallQueueTest, ARequestThatCannotBeDecodedIsRefused) {
  Serve(2, [](AnyCall& call) { call.Respond(grpc::Status::OK); });
  grpc::Slice garbage("\x0a\xff");
  grpc::ByteBuffer request(&garbage, 1);
  grpc::ByteBuffer response;
  const grpc::Status status = Ask("/grpc.health.v1.Health/Check", request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(CallQueueTest, WhatACallThrowsIsItsAnswer) {
  Serve(2, [](AnyCall&) { throw std::runtime_error("broken"); });
  for (int i = 0; i < 3; ++i) {
    const grpc::Status status = Call("");
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
    EXPECT_EQ(status.error_message(), "broken");
  }
}

}  // namespace
}  // namespace nrtd::rpc
