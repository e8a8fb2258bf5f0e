// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/call_queue.h"

#include <exception>

#include "base/log.h"

namespace nrtd::service {
namespace {

// Two, so that one reads the sockets while the other handles what it read.
constexpr uint32_t kFirstThreads = 2;
// A thread that would be one more of those that wait ends. Enough that 64 clients at once make no
// threads come and go: with 16 they got a seventh less.
constexpr uint32_t kMostWaiting = 128;
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
  for (uint32_t i = 1; i < kFirstThreads; ++i) AddThread();
  return {};
}

void CallQueue::Stop() {
  MutexLock lock(mutex_);
  while (calls_ != 0) changed_.Wait(mutex_);
  completions_->Shutdown();
  while (!threads_.empty()) changed_.Wait(mutex_);
  JoinEnded(0);
}

// Where the system gives no more threads, calls wait for those that there are.
bool CallQueue::AddThread() {
  JoinEnded(kMostEnded);
  const auto self = threads_.emplace(threads_.end());
  waiting_.fetch_add(1, std::memory_order_relaxed);
  try {
    *self = std::thread([this, self] { Run(self); });
    return true;
  } catch (const std::exception& error) {
    threads_.erase(self);
    Log(LogLevel::kWarning, "NRTD:Server", "no more than {} threads for calls: {}", threads_.size(),
        error.what());
    waiting_.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
}

// What libraries keep for a thread is freed when it has ended, and not any more once the process
// ends. The oldest ones ended long ago: joining them waits for nobody.
void CallQueue::JoinEnded(size_t but) {
  for (; ended_.size() > but; ended_.pop_front()) ended_.front().join();
}

// Counts this thread among those that wait, unless enough do: it is to end then, and was never
// counted.
bool CallQueue::WaitAgain() {
  uint32_t waiting = waiting_.load(std::memory_order_relaxed);
  do {
    if (waiting >= kMostWaiting) return false;
  } while (!waiting_.compare_exchange_weak(waiting, waiting + 1, std::memory_order_relaxed));
  return true;
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
    Log(LogLevel::kError, "NRTD:Server", "a call failed: {}", error.what());
    return {grpc::StatusCode::INTERNAL, error.what()};
  }
}

void CallQueue::Run(Threads::iterator self) {
  void* tag = nullptr;
  bool ok = false;
  while (completions_->Next(&tag, &ok)) {
    if (waiting_.fetch_sub(1, std::memory_order_relaxed) == 1) {
      MutexLock lock(mutex_);
      AddThread();
    }
    static_cast<Event*>(tag)->Proceed(ok);
    if (!WaitAgain()) break;
  }
  MutexLock lock(mutex_);
  ended_.splice(ended_.end(), threads_, self);
  changed_.NotifyAll();
}

}  // namespace nrtd::service
