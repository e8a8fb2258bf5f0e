// SPDX-License-Identifier: Apache-2.0
#include "rpc/call_queue.h"

#include <algorithm>
#include <exception>
#include <optional>
#include <utility>

#include <grpc/support/time.h>

#include "base/before_long.h"
#include "base/log.h"

namespace nrtd::rpc {
namespace {

// Further idle threads exit. 64 clients stay below this, so their threads are never recreated.
constexpr uint32_t kMostResting = 128;
// Ended threads that may wait to be joined. Only older ones are joined while the queue runs: a
// thread that is just about to end would block everyone who needs mutex_.
constexpr size_t kMostEnded = 64;

}  // namespace

Call::Call(CallQueue& queue) : queue_(queue) {
  MutexLock lock(queue_.mutex_);
  ++queue_.calls_;
}

Call::~Call() {
  MutexLock lock(queue_.mutex_);
  if (--queue_.calls_ == 0) queue_.changed_.NotifyAll();
}

CallQueue::CallQueue(std::unique_ptr<grpc::ServerCompletionQueue> completion_queue,
                     uint32_t max_threads)
    : completions_(std::move(completion_queue)), max_threads_(max_threads) {}

CallQueue::~CallQueue() {
  if (!stopped_) Abandon();
}

Result<void> CallQueue::Start() {
  MutexLock lock(mutex_);
  waiting_ = 1;
  if (AddThread(nullptr)) return {};
  waiting_ = 0;
  return Fail(Nerr::kResource, "cannot start a thread for calls");
}

void CallQueue::ShutDown(grpc::Server& server, std::chrono::milliseconds grace) {
  // Until what clients have sent has arrived, and until the goodbye has left: far longer than
  // either takes on a machine that has work for all its CPUs.
  static constexpr std::chrono::milliseconds kMoment{50};
  const auto deadline = std::chrono::system_clock::now() + grace;
  if (grace.count() == 0) {
    server.Shutdown(deadline);
    return;
  }
  // The shutdown waits for the calls whose answers are held. First, since it may fail.
  std::thread release([this] {
    std::this_thread::sleep_for(2 * kMoment);
    std::vector<Task*> answers;
    {
      MutexLock lock(held_mutex_);
      holds_answers_ = false;
      answers.swap(held_answers_);
    }
    for (Task* answer : answers) answer->Run();
  });
  holds_answers_ = true;
  std::this_thread::sleep_for(kMoment);
  server.Shutdown(deadline);
  release.join();
}

bool CallQueue::HoldAnswer(Task& answer) {
  if (!holds_answers_.load(std::memory_order_relaxed)) return false;
  MutexLock lock(held_mutex_);
  if (!holds_answers_) return false;
  held_answers_.push_back(&answer);
  return true;
}

void CallQueue::AwaitCalls() {
  MutexLock lock(mutex_);
  while (calls_ != 0) changed_.Wait(mutex_);
}

void CallQueue::Stop() {
  AwaitCalls();
  MutexLock lock(mutex_);
  completions_->Shutdown();
  {
    MutexLock resting(resting_mutex_);
    stopping_ = true;
    while (WakeOne(Next::kEnd, nullptr)) {
    }
  }
  while (!threads_.empty()) changed_.Wait(mutex_);
  JoinEnded(0);
  stopped_ = true;
}

// The new thread starts with `first`; if that is null it waits for events, and the caller has
// counted it in waiting_. Logs a warning if the system cannot create a thread.
bool CallQueue::AddThread(Task* first) {
  JoinEnded(kMostEnded);
  if (threads_.size() >= max_threads_) return false;
  auto self = threads_.end();
  try {
    self = threads_.emplace(self);
    *self = std::thread([this, self, first] { Run(self, first); });
    return true;
  } catch (const std::exception& error) {
    if (self != threads_.end()) threads_.erase(self);
    Log(LogLevel::kWarning, "NRTD:Server", "no more than {} threads for calls: {}", threads_.size(),
        error.what());
    return false;
  }
}

// Joining waits until the thread's thread-local data is freed, which must be before the process
// exits.
void CallQueue::JoinEnded(size_t keep) {
  for (; ended_.size() > keep; ended_.pop_front()) ended_.front().join();
}

// Lives on the idle thread's stack.
struct CallQueue::Resting {
  CondVar wake;
  std::optional<Next> next;  // set when it is woken
  Task* task = nullptr;
};

bool CallQueue::WakeOne(Next next, Task* task) {
  if (resting_.empty()) return false;
  Resting* last = resting_.back();
  resting_.pop_back();
  last->next = next;
  last->task = task;
  last->wake.NotifyOne();  // under the lock: *last is destroyed once the thread sees `next`
  return true;
}

// Sends a thread to wait for events if none does. Returns false if no thread can be had; the next
// thread to finish its call will wait.
bool CallQueue::FillIn() {
  while (WaitAgain()) {  // counted before it is there, so that no second one is sent
    {
      MutexLock lock(resting_mutex_);
      if (WakeOne(Next::kWait, nullptr)) return true;
    }
    {
      MutexLock lock(mutex_);
      if (AddThread(nullptr)) return true;
    }
    waiting_.fetch_sub(1);
    MutexLock lock(resting_mutex_);
    if (resting_.empty()) return false;
    // A thread went idle in between because it saw the place taken: try again.
  }
  return true;
}

struct CallQueue::Worker {
  CallQueue& queue;
  bool counted = false;  // still counted in waiting_ while it handles an event
};
thread_local CallQueue::Worker* CallQueue::worker_ = nullptr;

void CallQueue::HandOver() {
  if (worker_ == nullptr || !std::exchange(worker_->counted, false)) return;
  CallQueue& queue = worker_->queue;
  if (queue.waiting_.fetch_sub(1) == 1) queue.FillIn();
}

bool CallQueue::TryHandOver() {
  if (worker_ == nullptr) return true;
  CallQueue& queue = worker_->queue;
  const bool had_it = std::exchange(worker_->counted, false);
  const uint32_t others = had_it ? queue.waiting_.fetch_sub(1) - 1 : queue.waiting_.load();
  if (others > 0 || queue.FillIn()) return true;
  worker_->counted = had_it && queue.WaitAgain();
  return had_it && !worker_->counted;
}

void CallQueue::TaskList::Push(Task& task) {
  task.next_task_ = nullptr;
  (last != nullptr ? last->next_task_ : first) = &task;
  last = &task;
}

Task* CallQueue::TaskList::Pop() {
  Task* const task = first;
  if (task == nullptr) return nullptr;
  first = task->next_task_;
  if (first == nullptr) last = nullptr;
  return task;
}

void CallQueue::Post(Task& task) {
  {
    MutexLock lock(resting_mutex_);
    if (WakeOne(Next::kTask, &task)) return;
  }
  {
    MutexLock lock(mutex_);
    if (AddThread(&task)) return;
  }
  {
    MutexLock lock(resting_mutex_);
    if (WakeOne(Next::kTask, &task)) return;
    tasks_.Push(task);
    queued_.fetch_add(1);
  }
  // Busy threads look for tasks when they finish, but the one that waits may have looked already.
  if (waiting_.load() > 0 && !kick_.pending.exchange(true))
    alarm_.Set(completions_.get(), gpr_now(GPR_CLOCK_MONOTONIC), static_cast<Event*>(&kick_));
}

Task* CallQueue::TakeTask() {
  if (queued_.load() == 0) return nullptr;
  MutexLock lock(resting_mutex_);
  Task* const task = tasks_.Pop();
  if (task != nullptr) queued_.fetch_sub(1);
  return task;
}

bool CallQueue::BeginLoad(Task& task) {
  MutexLock lock(loads_mutex_);
  if (loads_ < std::max(max_threads_ / 4, 1U)) {
    ++loads_;
    return true;
  }
  waiting_loads_.Push(task);
  return false;
}

void CallQueue::EndLoad() {
  MutexLock lock(loads_mutex_);
  if (Task* const next = waiting_loads_.Pop()) {
    Post(*next);  // takes the place of the load that ended
  } else {
    --loads_;
  }
}

// Counts the calling thread in waiting_, unless another one is counted.
bool CallQueue::WaitAgain() {
  uint32_t waiting = 0;
  return waiting_.compare_exchange_strong(waiting, 1);
}

// Idles until there is something to do. kWait: the thread waits for events and is counted.
CallQueue::Next CallQueue::Rest(Task** task) {
  MutexLock lock(resting_mutex_);
  *task = tasks_.Pop();
  if (*task != nullptr) {
    queued_.fetch_sub(1);
    return Next::kTask;
  }
  // The thread that waited may have handed over just before this one could be seen idle.
  if (WaitAgain()) return Next::kWait;
  if (stopping_ || resting_.size() >= kMostResting) return Next::kEnd;
  Resting self;
  resting_.push_back(&self);
  while (!self.next) self.wake.Wait(resting_mutex_);
  *task = self.task;
  return *self.next;
}

// Runs `task`, if any, and then posted tasks. Returns true when the thread is to wait for events
// (it is counted), and false when it is to exit.
bool CallQueue::Work(Task* task) {
  while (true) {
    for (; task != nullptr; task = TakeTask()) task->Run();
    if (WaitAgain()) {
      if (queued_.load() == 0) return true;
      // A task was posted before its poster could see that this thread waits.
      task = TakeTask();
      if (task == nullptr) return true;
      if (waiting_.fetch_sub(1) == 1) FillIn();
      continue;
    }
    switch (Rest(&task)) {
      case Next::kWait:
        return true;
      case Next::kTask:
        break;
      case Next::kEnd:
        return false;
    }
  }
}

void CallQueue::Abandon() {
  completions_->Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (completions_->Next(&tag, &ok)) static_cast<Event*>(tag)->Proceed(false);
}

grpc::Status Guarded(const std::function<grpc::Status()>& handle) {
  try {
    return handle();
  } catch (const std::exception& error) {
    LogForClient(LogLevel::kError, "NRTD:Server", "a call failed: {}", error.what());
    return {grpc::StatusCode::INTERNAL, Printable(error.what())};
  }
}

void CallQueue::Run(Threads::iterator self, Task* first) {
  void* tag = nullptr;
  bool ok = false;
  Worker worker{*this};
  worker_ = &worker;
  before_long = &CallQueue::HandOver;
  bool goes_on = first == nullptr || Work(first);
  while (goes_on && completions_->Next(&tag, &ok)) {
    worker.counted = true;
    static_cast<Event*>(tag)->Proceed(ok);
    Task* const task = TakeTask();
    if (worker.counted && task == nullptr) continue;
    HandOver();
    goes_on = Work(task);
  }
  MutexLock lock(mutex_);
  ended_.splice(ended_.end(), threads_, self);
  changed_.NotifyAll();
}

}  // namespace nrtd::rpc
