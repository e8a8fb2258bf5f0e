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

// A thread that would be one more ends. Enough that 64 clients make no threads come and go.
constexpr uint32_t kMostResting = 128;
// Threads that have ended and are not joined yet. Every call takes the lock under which they are,
// so none is waited for that is still about to end.
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

// With a line in the log where the system gives no more threads. It begins with `first`, or by
// waiting for events, and is counted then.
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

// What libraries keep for a thread is freed when it has ended, and not any more once the process
// ends. The oldest ones ended long ago: joining them waits for nobody.
void CallQueue::JoinEnded(size_t but) {
  for (; ended_.size() > but; ended_.pop_front()) ended_.front().join();
}

// Of a thread that rests, on its stack.
struct CallQueue::Resting {
  CondVar wake;
  std::optional<Next> next;  // what it was woken for
  Task* task = nullptr;
};

bool CallQueue::WakeOne(Next next, Task* task) {
  if (resting_.empty()) return false;
  Resting* last = resting_.back();
  resting_.pop_back();
  last->next = next;
  last->task = task;
  last->wake.NotifyOne();  // with the lock, or it may be gone
  return true;
}

// Puts a thread on the queue when none is waiting there. False: no more threads can be created, so
// the next thread to finish its call will wait.
bool CallQueue::FillIn() {
  while (WaitAgain()) {  // counted before it is there, so that no other one goes as well
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
    // One that went to rest in between, since it saw the place taken.
  }
  return true;
}

struct CallQueue::Worker {
  CallQueue& queue;
  bool counted = false;  // among those that wait for events, though it handles one
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
  // Every thread that is at work looks for tasks afterwards, but those that wait for events may
  // have looked before.
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
    Post(*next);  // in the place of the one that ended
  } else {
    --loads_;
  }
}

// Counts this thread among those that wait for events, unless one does.
bool CallQueue::WaitAgain() {
  uint32_t waiting = 0;
  return waiting_.compare_exchange_strong(waiting, 1);
}

// kWait: this thread is to wait for events, and is counted.
CallQueue::Next CallQueue::Rest(Task** task) {
  MutexLock lock(resting_mutex_);
  *task = tasks_.Pop();
  if (*task != nullptr) {
    queued_.fetch_sub(1);
    return Next::kTask;
  }
  // Those that waited may have taken events in the meantime, too early to see this one rest.
  if (WaitAgain()) return Next::kWait;
  if (stopping_ || resting_.size() >= kMostResting) return Next::kEnd;
  Resting self;
  resting_.push_back(&self);
  while (!self.next) self.wake.Wait(resting_mutex_);
  *task = self.task;
  return *self.next;
}

// Runs the task, if there is one, and those that are posted while there is nothing else to do.
// Returns when this thread is to wait for events, and is counted; false: it is to end.
bool CallQueue::Work(Task* task) {
  while (true) {
    for (; task != nullptr; task = TakeTask()) task->Run();
    if (WaitAgain()) {
      if (queued_.load() == 0) return true;
      // Posted before this thread was seen to wait.
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
