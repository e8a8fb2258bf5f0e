// SPDX-License-Identifier: Apache-2.0
//
// gRPC's completion queue and the threads that wait on it.
//
// A thread that takes an event out of the queue decodes the request, handles it, even if that
// blocks, and encodes the answer: no hand-over between threads lies on the way of an inference.
// There is one queue for everything, because a thread that waits on any queue of a gRPC server also
// reads sockets for all others, and then has to pass on what it read: with the callback interface
// for one of the services, every inference took two more context switches and four clients got half
// of the throughput.
//
// Two threads wait for events, so that one reads the sockets while the other handles what it read.
// gRPC wakes another one of those that wait for every event, so more would be woken for nothing
// where the CPUs are busy anyhow: with 128 of them 64 clients got 0.6 to 0.8 of what a bare echo
// gives them on two CPUs, with two 0.8 to 1.2. The others rest until they are needed.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <thread>
#include <vector>

#include <grpcpp/completion_queue.h>
#include <grpcpp/support/status.h>

#include "base/error.h"
#include "base/mutex.h"

namespace nrtd::service {

class CallQueue;

// What the queue's tags point to.
class Event {
 public:
  // The operation that was started with this as its tag has ended. `ok` as CompletionQueue::Next()
  // gives it.
  virtual void Proceed(bool ok) = 0;

 protected:
  virtual ~Event() = default;
};

// One call under way, or waited for. Owns itself; Proceed() may delete it. Of one call, one
// operation is under way at a time.
class Call : public Event {
 public:
  explicit Call(CallQueue& queue);
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

 protected:
  ~Call() override;
  CallQueue& queue() const { return queue_; }

 private:
  CallQueue& queue_;
};

// Threadsafe.
class CallQueue {
 public:
  // The server is built with `completion_queue`.
  explicit CallQueue(std::unique_ptr<grpc::ServerCompletionQueue> completion_queue);
  // Stopped before.
  ~CallQueue();

  grpc::ServerCompletionQueue* completions() { return completions_.get(); }

  // Takes events from now on. More threads come when all are busy; most stay.
  // kResource when the system gives no thread at all.
  Result<void> Start();
  // Waits until every call has ended, then ends the threads. The server was shut down, so that none
  // begins.
  void Stop();
  // Instead of Start(), for a server that was shut down before: ends every call that waits.
  void Abandon();

 private:
  friend class Call;
  using Threads = std::list<std::thread>;
  bool AddThread() NRTD_REQUIRES(mutex_);
  // All but the last few.
  void JoinEnded(size_t but) NRTD_REQUIRES(mutex_);
  void Run(Threads::iterator self);
  void FillIn();
  bool WaitAgain();
  bool Rest();
  bool WakeOne() NRTD_REQUIRES(resting_mutex_);

  const std::unique_ptr<grpc::ServerCompletionQueue> completions_;
  Mutex mutex_;
  CondVar changed_;
  uint64_t calls_ NRTD_GUARDED_BY(mutex_) = 0;
  Threads threads_ NRTD_GUARDED_BY(mutex_);
  Threads ended_ NRTD_GUARDED_BY(mutex_);  // or about to: they take no lock any more
  std::atomic<uint32_t> waiting_{0};       // threads inside or on their way into Next()
  Mutex resting_mutex_;
  // The last one that came is the first to go: its stack is in the cache still.
  struct Resting;
  std::vector<Resting*> resting_ NRTD_GUARDED_BY(resting_mutex_);
  bool stopping_ NRTD_GUARDED_BY(resting_mutex_) = false;
};

// What `handle` returns; INTERNAL, and a line in the log, for an exception (no memory, say), which
// must end this call and not the daemon.
grpc::Status Guarded(const std::function<grpc::Status()>& handle);

}  // namespace nrtd::service
