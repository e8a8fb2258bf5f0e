// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "base/mutex.h"
#include "scheduler/slot.h"

namespace nrtd::scheduler {

// The ninfer slots of one network. Threadsafe.
class SlotPool {
 public:
  explicit SlotPool(std::vector<std::unique_ptr<Slot>> slots);

  // A free slot, or null when every one is taken: the caller answers "queue full".
  Slot* Take();
  // Back to the free ones; it is not in flight.
  void Give(Slot* slot);
  // The slot's owner has gone while it may be in flight: what of the inference has not begun is
  // cancelled, what has goes on by itself, and the slot becomes free once it has ended, which
  // Take() and AwaitAllFree() find out.
  void Abandon(Slot* slot);

  // Calls `observer` once when a slot has come back or an inference has come further: look again.
  // One at a time. False, and nothing is called, when no slot is taken any more.
  bool ObserveAllFree(Waker& observer);
  // Until no slot is taken any more. False when the deadline passed first.
  bool AwaitAllFree(Clock& clock, TimePoint deadline);

  uint32_t in_use() const;
  uint32_t size() const { return static_cast<uint32_t>(slots_.size()); }

 private:
  void Reap() NRTD_REQUIRES(mutex_);
  void TellObserver() NRTD_REQUIRES(mutex_);

  const std::vector<std::unique_ptr<Slot>> slots_;
  mutable Mutex mutex_;
  CondVar given_;
  std::vector<Slot*> free_
      NRTD_GUARDED_BY(mutex_);  // the latest one given is taken first: its memory is warm
  std::vector<Slot*> abandoned_ NRTD_GUARDED_BY(mutex_);
  Waker* observer_ NRTD_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace nrtd::scheduler
