// SPDX-License-Identifier: Apache-2.0
//
// The CPUs that run what no NeuronCore does: the host nodes of graphs.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "scheduler/stage.h"

namespace nrtd::scheduler {

class HostStage;

// Threads that begin with the first work and then wait for more. Threadsafe.
class HostPool {
 public:
  // `most_threads` at least 1.
  HostPool(Clock& clock, unsigned most_threads) : clock_(clock), most_threads_(most_threads) {}
  // Nothing is in flight.
  ~HostPool();

  Clock& clock() const { return clock_; }

 private:
  friend class HostStage;
  // kResource when the system gives no thread at all.
  Result<void> Submit(HostStage& stage) NRTD_EXCLUDES(mutex_);
  // False when a thread has it already, or it is not here.
  bool Withdraw(HostStage& stage) NRTD_EXCLUDES(mutex_);
  void Run() NRTD_EXCLUDES(mutex_);

  Clock& clock_;
  const unsigned most_threads_;
  Mutex mutex_;
  CondVar work_;
  std::vector<HostStage*> queue_ NRTD_GUARDED_BY(mutex_);  // oldest first
  unsigned idle_ NRTD_GUARDED_BY(mutex_) = 0;
  bool stop_ NRTD_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_ NRTD_GUARDED_BY(mutex_);
};

// What a host node does to a slot's memory; must not throw. Cannot be interrupted.
using HostFunction = std::function<ExecutionOutcome()>;

// A host node on the pool.
class HostStage final : public Stage {
 public:
  // `listener` and `pool` outlive the stage.
  HostStage(StageListener& listener, size_t index, HostPool& pool, HostFunction function)
      : listener_(listener), index_(index), pool_(pool), function_(std::move(function)) {}

  Result<void> Submit(Completion completion) override;
  bool Wait(TimePoint deadline) override;
  bool Done() override;
  Attendance Attend(TimePoint deadline, Waker& waker) override;  // never kLate: the pool works
  void Forget() override;
  bool Observe(Waker& observer) override;
  void Drive() override {}  // the pool does anyway
  void Cancel(const std::string& reason) override;
  const ExecutionOutcome& outcome() const override { return outcome_; }

 private:
  friend class HostPool;
  void Run();
  void End(ExecutionOutcome outcome);

  StageListener& listener_;
  const size_t index_;
  HostPool& pool_;
  const HostFunction function_;
  ExecutionOutcome outcome_;
  Mutex mutex_;
  CondVar ended_;
  bool done_ NRTD_GUARDED_BY(mutex_) = true;
  Waker* waker_ NRTD_GUARDED_BY(mutex_) = nullptr;
  Waker* observer_ NRTD_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace nrtd::scheduler
