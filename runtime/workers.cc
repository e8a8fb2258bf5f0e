// SPDX-License-Identifier: Apache-2.0
#include "runtime/workers.h"

#include <exception>
#include <system_error>
#include <utility>

#include "base/log.h"

namespace nrtd::runtime {

Workers::Workers(size_t max_threads) : max_threads_(max_threads) {
  MutexLock lock(mutex_);
  threads_.reserve(max_threads_);
  threads_.emplace_back([this] { Run(); });
}

Workers::~Workers() {
  std::vector<std::thread> threads;
  {
    MutexLock lock(mutex_);
    // Tasks that run may post others, for which no thread must start any more.
    while (!tasks_.empty() || idle_ < threads_.size()) ended_.Wait(mutex_);
    stop_ = true;
    work_.NotifyAll();
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
}

void Workers::Post(std::function<void()> task) {
  MutexLock lock(mutex_);
  tasks_.push_back(std::move(task));
  if (idle_ < tasks_.size() && threads_.size() < max_threads_) {
    try {
      threads_.emplace_back([this] { Run(); });
    } catch (const std::system_error& error) {
      Log(LogLevel::kDebug, "NRTD:Workers", "no more than {} threads: {}", threads_.size(),
          error.what());
    }
  }
  work_.NotifyOne();
}

void Workers::Run() {
  MutexLock lock(mutex_);
  while (true) {
    while (tasks_.empty() && !stop_) {
      ++idle_;
      ended_.NotifyAll();
      work_.Wait(mutex_);
      --idle_;
    }
    if (tasks_.empty()) return;
    std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.Unlock();
    try {
      task();
    } catch (const std::exception& error) {
      Log(LogLevel::kError, "NRTD:Workers", "a task failed: {}", error.what());
    }
    task = nullptr;  // what it holds goes without the lock
    lock.Lock();
  }
}

}  // namespace nrtd::runtime
