// SPDX-License-Identifier: Apache-2.0
#include "scheduler/host_pool.h"

#include <system_error>
#include <utility>

namespace nrtd::scheduler {

HostPool::~HostPool() {
  std::vector<std::thread> threads;
  {
    MutexLock lock(mutex_);
    stop_ = true;
    work_.NotifyAll();
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
}

Result<void> HostPool::Submit(HostStage& stage) {
  MutexLock lock(mutex_);
  if (idle_ <= queue_.size() && threads_.size() < most_threads_) {
    try {
      threads_.emplace_back([this] { Run(); });
    } catch (const std::system_error& error) {
      if (threads_.empty())
        return Fail(Nerr::kResource, "no thread for a host node: {}", error.what());
    }
  }
  queue_.push_back(&stage);
  work_.NotifyOne();
  return {};
}

bool HostPool::Withdraw(HostStage& stage) {
  MutexLock lock(mutex_);
  return std::erase(queue_, &stage) != 0;
}

void HostPool::Run() {
  MutexLock lock(mutex_);
  while (true) {
    while (queue_.empty() && !stop_) {
      ++idle_;
      work_.Wait(mutex_);
      --idle_;
    }
    if (queue_.empty()) return;
    HostStage* const stage = queue_.front();
    queue_.erase(queue_.begin());
    lock.Unlock();
    stage->Run();
    lock.Lock();
  }
}

Result<void> HostStage::Submit(Completion) {
  {
    MutexLock lock(mutex_);
    done_ = false;
    waker_ = observer_ = nullptr;
  }
  return pool_.Submit(*this);
}

void HostStage::Run() {
  End(function_());
}

void HostStage::Cancel(const std::string& reason) {
  if (pool_.Withdraw(*this)) End({Nerr::kInferCancelled, reason, 0});
}

void HostStage::End(ExecutionOutcome outcome) {
  outcome_ = std::move(outcome);
  listener_.OnStageDone(index_);
  MutexLock lock(mutex_);
  done_ = true;
  ended_.NotifyAll();
  Waker* const waker = std::exchange(waker_, nullptr);
  Waker* const observer = std::exchange(observer_, nullptr);
  if (waker != nullptr) waker->Wake();
  if (observer != nullptr) observer->Wake();
}

Attendance HostStage::Attend(TimePoint, Waker& waker) {
  MutexLock lock(mutex_);
  if (done_) return Attendance::kDone;
  waker_ = &waker;
  return Attendance::kParked;
}

void HostStage::Forget() {
  MutexLock lock(mutex_);
  waker_ = nullptr;
}

bool HostStage::Observe(Waker& observer) {
  MutexLock lock(mutex_);
  if (!done_) observer_ = &observer;
  return !done_;
}

bool HostStage::Wait(TimePoint deadline) {
  MutexLock lock(mutex_);
  while (!done_) {
    if (pool_.clock().Now() >= deadline) return false;
    pool_.clock().WaitUntil(ended_, mutex_, deadline);
  }
  return true;
}

bool HostStage::Done() {
  MutexLock lock(mutex_);
  return done_;
}

}  // namespace nrtd::scheduler
