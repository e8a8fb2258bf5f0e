// SPDX-License-Identifier: Apache-2.0
//
// Simulated cores that compute for long take turns on the machine's CPUs.
//
// Threads that compute without end make every other thread of the process wait until the kernel
// has gone round all of them: with twelve cores at work on two CPUs, the threads that read requests
// waited 9 ms on average and 40 ms at worst. With turns no more of them are ready to run than there
// are CPUs. The one that has computed the least goes first, so that a client with long instructions
// gets no more than one with short ones.
//
// A core that computes for less than a tenth of the time needs no turn (FreeTime): most inferences
// are answered at once.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "base/mutex.h"
#include "driver_shim/core.h"

namespace nrtd::sim {

// Threadsafe; a Place is one core's, used by one thread at a time.
class ComputeTurns {
 public:
  // How long a turn is. Then its core looks whether another one is due.
  static constexpr uint64_t kTurnNs = 4'000'000;

  class Place {
   public:
    bool has_turn() const { return has_turn_; }

   private:
    friend class ComputeTurns;
    bool has_turn_ = false;
    uint64_t computed_ns_ = 0;  // while it had turns; after a rest no less than what others had
    CondVar granted_;
  };

  // So many turns at once, at least 1.
  explicit ComputeTurns(unsigned at_once) : left_(at_once) {}

  // As many as fit on the CPUs that this process may use, with so many threads each.
  static unsigned FittingOnCpus(unsigned threads);

  // Waits until `place`, which has none, has a turn. False: the limit has passed, or `interrupted`
  // was set, before.
  bool Take(Place& place, const PollLimit& limit, const std::atomic<bool>& interrupted);
  // Ends the turn of `place`, which took `computed_ns`, and waits for its next one. It gets that
  // without waiting if no waiting core has computed less.
  bool Renew(Place& place, uint64_t computed_ns, const PollLimit& limit,
             const std::atomic<bool>& interrupted);
  void GiveBack(Place& place, uint64_t computed_ns);
  // `interrupted` of the core with this place was set.
  void Wake(Place& place);
  size_t waiting() {
    MutexLock lock(mutex_);
    return waiting_.size();
  }

 private:
  bool Await(Place& place, const PollLimit& limit, const std::atomic<bool>& interrupted)
      NRTD_REQUIRES(mutex_);
  void End(Place& place, uint64_t computed_ns) NRTD_REQUIRES(mutex_);
  void Grant() NRTD_REQUIRES(mutex_);

  Mutex mutex_;
  unsigned left_ NRTD_GUARDED_BY(mutex_);
  uint64_t floor_ns_ NRTD_GUARDED_BY(mutex_) = 0;  // computed_ns_ of the last one that got a turn
  std::vector<Place*> waiting_ NRTD_GUARDED_BY(mutex_);
};

// What a core may compute without a turn: it comes back at a tenth of the speed of the clock. One
// thread at a time.
class FreeTime {
 public:
  static constexpr uint64_t kMostNs = 1'000'000;
  static constexpr uint64_t kShare = 10;

  // How much there is now.
  uint64_t At(uint64_t now_ns) {
    left_ns_ = std::min(left_ns_ + (now_ns - std::min(now_ns, since_ns_)) / kShare, kMostNs);
    since_ns_ = now_ns;
    return left_ns_;
  }
  void Use(uint64_t ns) { left_ns_ -= std::min(ns, left_ns_); }

 private:
  uint64_t left_ns_ = kMostNs;
  uint64_t since_ns_ = 0;
};

}  // namespace nrtd::sim
