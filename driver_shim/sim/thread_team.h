// SPDX-License-Identifier: Apache-2.0
//
// The CPU threads that compute for one simulated core: the one that polls it and helpers of its
// own. Instructions are too short to wake a thread for each, so helpers look for work without
// sleeping while an execution runs, and sleep when none does.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace nrtd::sim {

// One thread at a time calls; any may be that one.
class ThreadTeam {
 public:
  // `threads` is 1 or more, the caller's included. Helpers are started when they are first needed.
  explicit ThreadTeam(unsigned threads) : size_(threads) {}
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  unsigned size() const { return size_; }

  // Calls task(0) to task(size() - 1), each by a thread of its own, the first by the caller's;
  // returns when all have. Wakes the helpers. A task does not throw. Where the system gives no
  // threads, the caller's does everything.
  template <typename Task>
  void Run(const Task& task) {
    RunErased([](const void* erased, unsigned part) { (*static_cast<const Task*>(erased))(part); },
              &task);
  }

  // Helpers may sleep.
  void Rest() { awake_.store(0, std::memory_order_release); }

 private:
  using Call = void (*)(const void* task, unsigned part);
  void RunErased(Call call, const void* task);
  void Start();
  void Work(unsigned part);

  const unsigned size_;
  std::vector<std::thread> helpers_;
  bool started_ = false;
  Call call_ = nullptr;
  const void* task_ = nullptr;
  std::atomic<uint64_t> generation_{0};  // of tasks
  std::atomic<unsigned> left_{0};        // helpers that have not done theirs
  std::atomic<uint32_t> awake_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace nrtd::sim
