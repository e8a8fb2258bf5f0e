// SPDX-License-Identifier: Apache-2.0
//
// gRPC's completion queue and the threads that serve it.
//
// A single thread waits for events. It takes an event off the queue, decodes the request, handles
// it, encodes the response and waits again, so a short call involves no handoff between threads.
// Before the thread starts long work, or waits for anything but the queue, it hands the queue over
// to another thread (HandOver()). The number of threads therefore follows the amount of long work,
// up to a fixed limit. Work that can wait without a thread posts a Task to continue later.
//
// The server has one queue because a thread that waits on any queue of a gRPC server also reads the
// sockets of all its other queues, and must then pass on what it has read. docs/architecture.md
// has the measurements.
//
// Invariants that Stop() and every wake-up rely on:
// - At most one thread has the queue: it is in Next(), on its way there, or handles an event and
//   has not handed over. `waiting_` is 1 from the moment a thread is chosen for that.
// - If no thread has the queue, all threads are busy and their number is at the limit. The next one
//   to finish its work takes the queue (WaitAgain() in Work() and Rest()).
// - A posted task runs on an idle thread, on a new one, or from `tasks_`. Threads look at `tasks_`
//   after each event and task and before they wait. If one waits already, the kick wakes it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <thread>
#include <vector>

#include <grpcpp/alarm.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/server.h>
#include <grpcpp/support/status.h>

#include "base/error.h"
#include "base/mutex.h"
#include "base/sizes.h"

namespace nrtd::rpc {

class CallQueue;

// Copying and decoding a message of this size takes less time than waking another thread.
inline constexpr size_t kShortMessage = 64 * kKiB;

// Every tag in the queue points to an Event.
class Event {
 public:
  // Called when the operation that carries this tag has completed, with the `ok` that
  // CompletionQueue::Next() returned.
  virtual void Proceed(bool ok) = 0;

 protected:
  virtual ~Event() = default;
};

// Continues a call that had to wait. The call owns it. A task is in at most one queue at a time.
class Task {
 public:
  virtual void Run() = 0;

 protected:
  virtual ~Task() = default;

 private:
  friend class CallQueue;
  Task* next_task_ = nullptr;
};

// Completes a call later, from any thread, once the response is filled in. Call Respond() exactly
// once; it may delete the call.
class Deferred {
 public:
  virtual void Respond(const grpc::Status& status) = 0;

 protected:
  ~Deferred() = default;
};

// A call in progress, or the wait for the next one. Owns itself; Proceed() may delete it. At most
// one operation is in flight per call.
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
  // `completion_queue` comes from the server's builder; client calls may use it too. `max_threads`
  // is at least 2.
  CallQueue(std::unique_ptr<grpc::ServerCompletionQueue> completion_queue, uint32_t max_threads);
  // Requires Stop(), or that Start() was never called.
  ~CallQueue();

  grpc::ServerCompletionQueue* completions() { return completions_.get(); }

  // Starts serving. Threads are added when all are busy, and most of them are kept.
  // kResource if the system cannot create even one thread.
  Result<void> Start();
  // Lets another thread take events, because the calling thread is about to do long work or to
  // wait for something other than its queue. If the thread limit is reached, the next thread to
  // finish its call takes over. Does nothing if the calling thread has handed over already or does
  // not belong to a queue.
  static void HandOver();
  // HandOver() for a caller that is about to wait for an event of this queue. Returns false if no
  // thread is left to take that event: the caller must not wait.
  static bool TryHandOver();
  // Runs the task on an idle thread, on a new one if the limit permits, or on the next thread that
  // finishes its call. Never blocks. The caller may hold locks, unless a task holds the same locks
  // while it posts.
  void Post(Task& task);
  // Limits loads, which compute for seconds, to a quarter of the threads. Returns true if the
  // caller may begin now; otherwise `task` is posted when it may. Each load ends with EndLoad().
  bool BeginLoad(Task& task);
  void EndLoad();
  // Ends `server` so that clients which ask one thing after the other see no call cancelled. gRPC
  // cancels a call that arrives between its shutdown and the client's reading of it. So answers of
  // unary calls are held back for a moment, after which such clients are all waiting; then the
  // server says goodbye, and only then are they answered. Calls under way have `grace` to end; with
  // none at all, nothing is held back.
  void ShutDown(grpc::Server& server, std::chrono::milliseconds grace);
  // Whether answers are held back now. If so, `answer` runs when they are released.
  bool HoldAnswer(Task& answer);
  // Waits until every call has ended. Requires that the server was shut down.
  void AwaitCalls();
  // AwaitCalls(), then joins the threads. Requires that no other operation is in flight or starts.
  void Stop();
  // Replaces Start() when the server was shut down before it served, or was never built: deletes
  // the calls that wait for a client.
  void Abandon();

 private:
  friend class Call;
  using Threads = std::list<std::thread>;
  // FIFO.
  struct TaskList {
    Task* first = nullptr;
    Task* last = nullptr;
    void Push(Task& task);
    Task* Pop();
  };
  // Wakes the thread in Next() so that it looks for tasks.
  struct Kick final : Event {
    void Proceed(bool) override { pending = false; }
    std::atomic<bool> pending{false};
  };
  struct Worker;  // lives on each thread's stack
  bool AddThread(Task* first) NRTD_REQUIRES(mutex_);
  // Joins the oldest ended threads until `keep` are left.
  void JoinEnded(size_t keep) NRTD_REQUIRES(mutex_);
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
  static thread_local Worker* worker_;  // null: the calling thread belongs to no queue
  Mutex mutex_;
  CondVar changed_;
  uint64_t calls_ NRTD_GUARDED_BY(mutex_) = 0;
  Threads threads_ NRTD_GUARDED_BY(mutex_);
  Threads ended_ NRTD_GUARDED_BY(mutex_);  // to be joined; they take no more locks
  std::atomic<uint32_t> waiting_{0};       // threads that have the queue: 0 or 1
  Mutex resting_mutex_;
  // LIFO: the stack of the most recent idle thread is still in the cache.
  struct Resting;
  std::vector<Resting*> resting_ NRTD_GUARDED_BY(resting_mutex_);
  bool stopping_ NRTD_GUARDED_BY(resting_mutex_) = false;
  TaskList tasks_ NRTD_GUARDED_BY(resting_mutex_);  // tasks that found no thread
  std::atomic<uint32_t> queued_{0};                 // the size of tasks_
  Kick kick_;
  grpc::Alarm alarm_;
  std::atomic<bool> holds_answers_{false};
  Mutex held_mutex_;
  std::vector<Task*> held_answers_ NRTD_GUARDED_BY(held_mutex_);
  Mutex loads_mutex_;
  bool stopped_ = false;
  uint32_t loads_ NRTD_GUARDED_BY(loads_mutex_) = 0;
  TaskList waiting_loads_ NRTD_GUARDED_BY(loads_mutex_);
};

// Returns what `handle` returns. An exception, such as bad_alloc, fails this call and not the
// process: it is logged and becomes INTERNAL.
grpc::Status Guarded(const std::function<grpc::Status()>& handle);

}  // namespace nrtd::rpc
