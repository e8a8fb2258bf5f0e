// SPDX-License-Identifier: Apache-2.0
//
// Simulated cores that compute for long take turns on the machine's CPUs.
//
// Threads that compute without end make every other thread of the process wait until the kernel
// has gone round all of them: with twelve cores at work on two CPUs, the threads that read requests
// waited 9 ms on average and 40 ms at worst. With turns no more of them are ready to run than there
// are CPUs. The one that has computed the least goes first, so that a client with long instructions
// gets no more than one with short ones.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "base/mutex.h"
#include "driver_shim/core.h"

namespace nrtd::sim {

// Threadsafe; a Place is one core's, used by one thread at a time.
class ComputeTurns {
 public:
  // Of each execution, before it needs a turn: most of those that are answered at once.
  static constexpr uint64_t kFreeNs = 1'000'000;
  // Then it looks whether another one is due.
  static constexpr uint64_t kTurnNs = 4'000'000;

  class Place {
   public:
    bool has_turn() const { return has_turn_; }

   private:
    friend class ComputeTurns;
    bool has_turn_ = false;
    uint64_t computed_ns_ = 0;  // while it had turns; never behind that of those that compute
    CondVar granted_;
  };

  // So many turns at once, at least 1.
  explicit ComputeTurns(unsigned at_once) : left_(at_once) {}

  // As many as fit on the CPUs that this process may use, with so many threads each.
  static unsigned FittingOnCpus(unsigned threads);

  // Waits until `place` has a turn. False: the limit has passed, or `interrupted` was set, before.
  bool Take(Place& place, const PollLimit& limit, const std::atomic<bool>& interrupted);
  // Its turn is over, after so long.
  void GiveBack(Place& place, uint64_t computed_ns);
  // `interrupted` of the core with this place was set.
  void Wake(Place& place);
  size_t waiting() {
    MutexLock lock(mutex_);
    return waiting_.size();
  }

 private:
  void Grant() NRTD_REQUIRES(mutex_);

  Mutex mutex_;
  unsigned left_ NRTD_GUARDED_BY(mutex_);
  uint64_t floor_ns_ NRTD_GUARDED_BY(mutex_) = 0;  // computed_ns_ of the last one that got a turn
  std::vector<Place*> waiting_ NRTD_GUARDED_BY(mutex_);
};

}  // namespace nrtd::sim
