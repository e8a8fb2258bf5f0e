// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/call_queue.h"

#include <exception>

#include "base/log.h"

namespace nrtd::service {
namespace {

constexpr uint32_t kWaiting = 2;
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

CallQueue::CallQueue(std::unique_ptr<grpc::ServerCompletionQueue> completion_queue)
    : completions_(std::move(completion_queue)) {}

CallQueue::~CallQueue() = default;

Result<void> CallQueue::Start() {
  MutexLock lock(mutex_);
  if (!AddThread()) return Fail(Nerr::kResource, "cannot start a thread for calls");
  for (uint32_t i = 1; i < kWaiting; ++i) AddThread();
  return {};
}

void CallQueue::Stop() {
  MutexLock lock(mutex_);
  while (calls_ != 0) changed_.Wait(mutex_);
  completions_->Shutdown();
  {
    MutexLock resting(resting_mutex_);
    stopping_ = true;
    while (WakeOne()) {
    }
  }
  while (!threads_.empty()) changed_.Wait(mutex_);
  JoinEnded(0);
}

// With a line in the log where the system gives no more threads.
bool CallQueue::AddThread() {
  JoinEnded(kMostEnded);
  auto self = threads_.end();
  try {
    self = threads_.emplace(self);
    *self = std::thread([this, self] { Run(self); });
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
  bool needed = false;
};

bool CallQueue::WakeOne() {
  if (resting_.empty()) return false;
  Resting* last = resting_.back();
  resting_.pop_back();
  last->needed = true;
  last->wake.NotifyOne();  // with the lock, or it may be gone
  return true;
}

// Nobody waits for events any more. Where the system gives no more threads, the next one that is
// through with its call does.
void CallQueue::FillIn() {
  {
    MutexLock lock(resting_mutex_);
    if (WakeOne()) {
      waiting_.fetch_add(1);
      return;
    }
  }
  MutexLock lock(mutex_);
  AddThread();
}

// Counts this thread among those that wait for events, unless enough do.
bool CallQueue::WaitAgain() {
  uint32_t waiting = waiting_.load();
  do {
    if (waiting >= kWaiting) return false;
  } while (!waiting_.compare_exchange_weak(waiting, waiting + 1));
  return true;
}

// Returns when this thread is to wait for events, and is counted; false: it is to end.
bool CallQueue::Rest() {
  MutexLock lock(resting_mutex_);
  // Those that waited may have taken events in the meantime, too early to see this one rest.
  if (WaitAgain()) return true;
  if (stopping_ || resting_.size() >= kMostResting) return false;
  Resting self;
  resting_.push_back(&self);
  while (!self.needed) self.wake.Wait(resting_mutex_);
  return !stopping_;
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

void CallQueue::Run(Threads::iterator self) {
  void* tag = nullptr;
  bool ok = false;
  // Not counted before: where there is no thread after all, one that rests must not have seen it.
  waiting_.fetch_add(1);
  while (completions_->Next(&tag, &ok)) {
    if (waiting_.fetch_sub(1) == 1) FillIn();
    static_cast<Event*>(tag)->Proceed(ok);
    if (!WaitAgain() && !Rest()) break;
  }
  MutexLock lock(mutex_);
  ended_.splice(ended_.end(), threads_, self);
  changed_.NotifyAll();
}

}  // namespace nrtd::service
