// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <grpcpp/server_context.h>

#include "base/clock.h"
#include "base/mutex.h"

namespace nrtd::service {

// Calls that wait for their client: for the next message of an upload, for an answer to be read. A
// client that keeps one waiting too long (base/timeouts.h) has its call cancelled, which frees what
// the call holds. Threadsafe.
class CallDeadlines {
 public:
  enum class Kind { kNextMessage, kAnswerRead };

  // A call's place; part of the call. The call is waiting for one thing at a time.
  class Waiter {
   public:
    explicit Waiter(grpc::ServerContext& context) : context_(context) {}
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;

   private:
    friend class CallDeadlines;
    grpc::ServerContext& context_;
    // rpc::Guarded by CallDeadlines::mutex_. Null: it does not wait.
    Waiter* before_ = nullptr;
    Waiter* after_ = nullptr;
    TimePoint deadline_;
  };

  // Looks for expired calls on the thread that runs `io`. Both outlive this.
  CallDeadlines(boost::asio::io_context& io, Clock& clock);

  // The call has begun, and its operation will end with an event of the queue.
  void Begin(Waiter& waiter, Kind kind);
  // That event has come. Nothing happens when the call does not wait.
  void End(Waiter& waiter);

 private:
  // All waits of a kind are as long, so the first to begin is the first to be due.
  struct Queue {
    Waiter* first = nullptr;
    Waiter* last = nullptr;
  };
  // Cancels what is due. Does any call still wait?
  bool Expire();
  void Schedule();
  void Unlink(Waiter& waiter) NRTD_REQUIRES(mutex_);

  boost::asio::io_context& io_;
  Clock& clock_;
  boost::asio::steady_timer timer_;
  std::atomic<bool> scheduled_{false};
  Mutex mutex_;
  std::array<Queue, 2> queues_ NRTD_GUARDED_BY(mutex_);
};

}  // namespace nrtd::service
