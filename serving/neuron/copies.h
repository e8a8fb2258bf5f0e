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

// One executable, loaded onto each group of a place, with room for so many inferences at once on
// each. Who asks for room first gets it first. Threadsafe.
class Copies {
 public:
  // Requests that wait for room.
  static constexpr size_t kMostWaiting = 4096;
  struct Copy {
    uint32_t network = 0;
    uint32_t free = 0;
    std::shared_ptr<CoreGroup> group = {};
  };
  // Gets room, or kTimeout; once.
  using Taken = std::function<void(Result<Copy> copy)>;

  // Where all of them are; kept as long as this.
  void SetPlace(std::shared_ptr<const CorePlace> place) { place_ = std::move(place); }
  void Add(Copy copy);
  std::vector<uint32_t> networks() const;

  // Takes room of the copy with the most of it, and waits for some until the deadline. kTimeout;
  // kResource: too many wait.
  Result<Copy> Take(TimePoint deadline);
  // The same without waiting: `taken` is called before this returns, or by whoever gives room back.
  // A deadline that has passed is noticed then.
  void StartTake(TimePoint deadline, Taken taken);
  void GiveBack(const Copy& copy);

 private:
  // Of Take(): its thread.
  struct Sleeper {
    CondVar wake;
    std::optional<Copy> copy;
  };
  struct Waiter {
    TimePoint deadline;
    Taken taken;
    Sleeper* sleeper = nullptr;  // instead of `taken`
  };
  std::optional<Copy> TakeBest() NRTD_REQUIRES(mutex_);
  Result<void> CheckWaiting() const NRTD_REQUIRES(mutex_);

  std::shared_ptr<const CorePlace> place_;
  SteadyClock clock_;
  mutable Mutex mutex_;
  std::vector<Copy> copies_ NRTD_GUARDED_BY(mutex_);
  std::list<Waiter> waiting_ NRTD_GUARDED_BY(mutex_);  // the first that came in front
};

}  // namespace nrtd::serving
