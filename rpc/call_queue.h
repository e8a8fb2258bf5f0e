// SPDX-License-Identifier: Apache-2.0
//
// gRPC's completion queue and the threads that wait on it.
//
// One thread waits for events. It takes one out of the queue, decodes the request, handles it,
// encodes the answer and waits again: no handoff between threads lies on the way of a short call.
// Before it computes for long, or waits for something else than the queue, it hands the queue over
// to another thread (HandOver()). So there are as many threads as long work keeps busy, and never
// more than a limit; what can wait without a thread posts a task that goes on with it.
//
// There is one queue for everything, because a thread that waits on any queue of a gRPC server also
// reads sockets for all others, and then has to pass on what it read. On two CPUs the daemon with
// two threads that wait gave four clients 0.6 to 0.9 of what a bare echo gives them, with one that
// hands over 0.7 to 1.4; with the callback interface for one of its services it was half.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <thread>
#include <vector>

#include <grpcpp/alarm.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/support/status.h>

#include "base/error.h"
#include "base/mutex.h"
#include "base/sizes.h"

namespace nrtd::rpc {

class CallQueue;

// A message that is copied and decoded in less time than it takes to wake another thread.
inline constexpr size_t kShortMessage = 64 * kKiB;

// What the queue's tags point to.
class Event {
 public:
  // The operation that was started with this as its tag has ended. `ok` as CompletionQueue::Next()
  // gives it.
  virtual void Proceed(bool ok) = 0;

 protected:
  virtual ~Event() = default;
};

// What goes on with a call that waited. Owned by the call; in one queue at a time.
class Task {
 public:
  virtual void Run() = 0;

 protected:
  virtual ~Task() = default;

 private:
  friend class CallQueue;
  Task* next_task_ = nullptr;
};

// The answer of a call that is given later, by any thread, when the response is complete. Once; the
// call may be gone afterwards.
class Deferred {
 public:
  virtual void Respond(const grpc::Status& status) = 0;

 protected:
  ~Deferred() = default;
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
  // The server is built with `completion_queue`, which is also one for calls to others.
  // `max_threads` at least 2.
  CallQueue(std::unique_ptr<grpc::ServerCompletionQueue> completion_queue, uint32_t max_threads);
  // Stopped before, or never started.
  ~CallQueue();

  grpc::ServerCompletionQueue* completions() { return completions_.get(); }

  // Takes events from now on. More threads come when all are busy; most stay.
  // kResource when the system gives no thread at all.
  Result<void> Start();
  // The calling thread is about to compute for long or to wait for something else than its queue:
  // another one takes events instead. Where the limit of threads is reached, the next one that is
  // through with its call does. Nothing happens for a thread that has handed over, or is no
  // queue's.
  static void HandOver();
  // The same for a caller that waits for what comes out of the queue. False: no thread is left that
  // would take it, and the caller must not wait.
  static bool TryHandOver();
  // Has a thread run the task: one that rests, a new one below the limit, or the next one that is
  // through with its call. Never blocks; the caller may hold locks that no task takes while it
  // posts.
  void Post(Task& task);
  // Loads compute for seconds: a quarter of the threads may, the others wait here. True: the caller
  // may begin. False: `task` is posted when it may. EndLoad() after each.
  bool BeginLoad(Task& task);
  void EndLoad();
  // Waits until every call has ended. The server was shut down, so that none begins.
  void AwaitCalls();
  // AwaitCalls(), then ends the threads. Nothing else is under way in the queue, or begins.
  void Stop();
  // Instead of Start(), for a server that was shut down before, or none: ends every call that
  // waits.
  void Abandon();

 private:
  friend class Call;
  using Threads = std::list<std::thread>;
  // First in, first out.
  struct TaskList {
    Task* first = nullptr;
    Task* last = nullptr;
    void Push(Task& task);
    Task* Pop();
  };
  // Wakes a thread that waits for events so that it looks for tasks.
  struct Kick final : Event {
    void Proceed(bool) override { pending = false; }
    std::atomic<bool> pending{false};
  };
  struct Worker;  // a thread's, on its stack
  bool AddThread(Task* first) NRTD_REQUIRES(mutex_);
  // All but the last few.
  void JoinEnded(size_t but) NRTD_REQUIRES(mutex_);
  void Run(Threads::iterator self, Task* first);
  bool Work(Task* task);
  Task* TakeTask();
  bool FillIn();
  bool WaitAgain();
  enum class Next { kWait, kTask, kEnd };
  Next Rest(Task** task);
  bool WakeOne(Next next, Task* task) NRTD_REQUIRES(resting_mutex_);

  const std::unique_ptr<grpc::ServerCompletionQueue> completions_;
  const uint32_t max_threads_;
  static thread_local Worker* worker_;  // the calling thread's; null: it is not a queue's
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
  TaskList tasks_ NRTD_GUARDED_BY(resting_mutex_);  // only where no thread is left for them
  std::atomic<uint32_t> queued_{0};                 // in tasks_
  Kick kick_;
  grpc::Alarm alarm_;
  Mutex loads_mutex_;
  bool stopped_ = false;
  uint32_t loads_ NRTD_GUARDED_BY(loads_mutex_) = 0;
  TaskList waiting_loads_ NRTD_GUARDED_BY(loads_mutex_);
};

// What `handle` returns; INTERNAL, and a line in the log, for an exception (no memory, say), which
// must end this call and not the daemon.
grpc::Status Guarded(const std::function<grpc::Status()>& handle);

}  // namespace nrtd::rpc
