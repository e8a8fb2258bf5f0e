// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/compute_turns.h"

#include "base/usable_cpus.h"

namespace nrtd::sim {

unsigned ComputeTurns::FittingOnCpus(unsigned threads) {
  return std::max(UsableCpus() / std::max(threads, 1U), 1U);
}

bool ComputeTurns::Take(Place& place, const PollLimit& limit,
                        const std::atomic<bool>& interrupted) {
  MutexLock lock(mutex_);
  place.computed_ns_ = std::max(place.computed_ns_, floor_ns_);
  return Await(place, limit, interrupted);
}

bool ComputeTurns::Renew(Place& place, uint64_t computed_ns, const PollLimit& limit,
                         const std::atomic<bool>& interrupted) {
  MutexLock lock(mutex_);
  End(place, computed_ns);
  return Await(place, limit, interrupted);
}

bool ComputeTurns::Await(Place& place, const PollLimit& limit,
                         const std::atomic<bool>& interrupted) {
  waiting_.push_back(&place);
  Grant();
  while (!place.has_turn_ && !interrupted.load(std::memory_order_relaxed) && !limit.Passed()) {
    if (limit.clock != nullptr) {
      limit.clock->WaitInBackground(place.granted_, mutex_, limit.until);
    } else {
      place.granted_.Wait(mutex_);
    }
  }
  if (!place.has_turn_) std::erase(waiting_, &place);
  return place.has_turn_;
}

void ComputeTurns::GiveBack(Place& place, uint64_t computed_ns) {
  MutexLock lock(mutex_);
  End(place, computed_ns);
  Grant();
}

void ComputeTurns::End(Place& place, uint64_t computed_ns) {
  place.has_turn_ = false;
  place.computed_ns_ += computed_ns;
  ++left_;
}

void ComputeTurns::Wake(Place& place) {
  MutexLock lock(mutex_);
  place.granted_.NotifyOne();
}

void ComputeTurns::Grant() {
  while (left_ > 0 && !waiting_.empty()) {
    const auto next = std::min_element(
        waiting_.begin(), waiting_.end(),
        [](const Place* a, const Place* b) { return a->computed_ns_ < b->computed_ns_; });
    Place& place = **next;
    waiting_.erase(next);
    floor_ns_ = std::max(floor_ns_, place.computed_ns_);
    place.has_turn_ = true;
    --left_;
    place.granted_.NotifyOne();
  }
}

}  // namespace nrtd::sim
