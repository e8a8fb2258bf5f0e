// SPDX-License-Identifier: Apache-2.0
//
// gRPC's completion queue and the threads that wait on it.
//
// A thread that takes an event out of the queue decodes the request, handles it and encodes the
// answer: no handoff between threads lies on the way of an inference. It computes or drives a core,
// but waits for nothing else: what a call waits for posts a task that goes on with it. So there are
// as many threads as cores and loads keep busy, whatever clients ask for, and never more than a
// limit.
// There is one queue for everything, because a thread that waits on any queue of a gRPC server also
// reads sockets for all others, and then has to pass on what it read: with the callback interface
// for one of the services, every inference took two more context switches and four clients got half
// of the throughput.
//
// How many threads wait for events is a choice (Options). Two of them in the daemon, whose calls
// compute: one reads the sockets while the other handles what it read. gRPC wakes another one of
// those that wait for every event, so more would be woken for nothing where the CPUs are busy
// anyhow: with 128 of them 64 clients got 0.6 to 0.8 of what a bare echo gives them on two CPUs,
// with two 0.8 to 1.2. The others rest until they are needed.
// One in the model server, whose calls mostly pass something on: it handles what it read and reads
// on, and only a call that takes longer hands the queue over to another thread.
#pragma once

#include <atomic>
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

namespace nrtd::rpc {

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
  struct Options {
    uint32_t max_threads = 3;  // at least waiting + 1
    uint32_t waiting = 2;      // for events
    // A thread that takes an event hands the queue over before it handles that. False: only when
    // the call says HandOver().
    bool hand_over_each = true;
  };

  // The server is built with `completion_queue`, which is also one for calls to others.
  CallQueue(std::unique_ptr<grpc::ServerCompletionQueue> completion_queue, const Options& options);
  // Stopped before.
  ~CallQueue();

  grpc::ServerCompletionQueue* completions() { return completions_.get(); }

  // Takes events from now on. More threads come when all are busy; most stay.
  // kResource when the system gives no thread at all.
  Result<void> Start();
  // The caller's thread is about to compute for long or to wait for something else than the queue:
  // another one takes events instead. Does nothing for a thread that has handed over, or is not the
  // queue's. False: the limit of threads is reached, so that the caller must not wait.
  bool HandOver();
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
  bool WakeOne(Task* task) NRTD_REQUIRES(resting_mutex_);

  const std::unique_ptr<grpc::ServerCompletionQueue> completions_;
  const Options options_;
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
  uint32_t loads_ NRTD_GUARDED_BY(loads_mutex_) = 0;
  TaskList waiting_loads_ NRTD_GUARDED_BY(loads_mutex_);
};

// What `handle` returns; INTERNAL, and a line in the log, for an exception (no memory, say), which
// must end this call and not the daemon.
grpc::Status Guarded(const std::function<grpc::Status()>& handle);

}  // namespace nrtd::rpc
