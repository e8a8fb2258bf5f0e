// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/mutex.h"
#include "serving/neuron/core_groups.h"

namespace nrtd::serving {

// The copies of one executable, one for each group of its place. Each copy accepts a fixed number
// of concurrent inferences; requests beyond that wait in FIFO order. Threadsafe.
class Copies {
 public:
  // Limits the requests that wait.
  static constexpr size_t kMostWaiting = 4096;
  struct Copy {
    uint32_t network = 0;
    uint32_t free = 0;
    std::shared_ptr<CoreGroup> group = {};
  };
  // Called once, with a place on a copy or with kTimeout.
  using Taken = std::function<void(Result<Copy> copy)>;

  // Keeps the place of these copies reserved.
  void SetPlace(std::shared_ptr<const CorePlace> place) { place_ = std::move(place); }
  void Add(Copy copy);
  std::vector<uint32_t> networks() const;

  // Takes a place on the copy that has the most free, waiting for one if necessary. kTimeout after
  // `deadline`; kResource if too many requests wait.
  Result<Copy> Take(TimePoint deadline);
  // Take() for a caller that does not wait: calls `taken` before it returns, or later on the thread
  // that gives a place back. An expired deadline is noticed only then.
  void StartTake(TimePoint deadline, Taken taken);
  void GiveBack(const Copy& copy);

 private:
  // A thread in Take().
  struct Sleeper {
    CondVar wake;
    std::optional<Copy> copy;
  };
  struct Waiter {
    TimePoint deadline;
    Taken taken;
    Sleeper* sleeper = nullptr;  // set instead of `taken`
  };
  std::optional<Copy> TakeBest() NRTD_REQUIRES(mutex_);
  Result<void> CheckWaiting() const NRTD_REQUIRES(mutex_);

  std::shared_ptr<const CorePlace> place_;
  SteadyClock clock_;
  mutable Mutex mutex_;
  std::vector<Copy> copies_ NRTD_GUARDED_BY(mutex_);
  std::list<Waiter> waiting_ NRTD_GUARDED_BY(mutex_);  // oldest first
};

}  // namespace nrtd::serving
