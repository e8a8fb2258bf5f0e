// SPDX-License-Identifier: Apache-2.0
//
// A few threads for what the daemon does on its own account: cutting off what is late, and going on
// with an unload when what it waited for has ended.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "base/mutex.h"

namespace nrtd::runtime {

// Tasks run in the order in which they were posted, each on one of at most `max_threads` threads.
// A task may compute but must not wait for a client or for another task. Threadsafe.
class Workers {
 public:
  // Starts the first thread; throws std::system_error when the system has none. The others start
  // when they are needed.
  explicit Workers(size_t max_threads);
  // Runs the tasks that are left, and those that they post, then ends the threads.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  void Post(std::function<void()> task) NRTD_EXCLUDES(mutex_);

 private:
  void Run() NRTD_EXCLUDES(mutex_);

  const size_t max_threads_;
  Mutex mutex_;
  CondVar work_;
  CondVar ended_;
  std::deque<std::function<void()>> tasks_ NRTD_GUARDED_BY(mutex_);
  size_t idle_ NRTD_GUARDED_BY(mutex_) = 0;
  bool stop_ NRTD_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_ NRTD_GUARDED_BY(mutex_);
};

}  // namespace nrtd::runtime
