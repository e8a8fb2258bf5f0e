// SPDX-License-Identifier: Apache-2.0
#include "scheduler/slot_pool.h"

#include <algorithm>
#include <utility>

namespace nrtd::scheduler {

SlotPool::SlotPool(std::vector<std::unique_ptr<Slot>> slots) : slots_(std::move(slots)) {
  MutexLock lock(mutex_);
  free_.reserve(slots_.size());
  abandoned_.reserve(slots_.size());
  for (const auto& slot : slots_) free_.push_back(slot.get());
}

Slot* SlotPool::Take() {
  MutexLock lock(mutex_);
  if (free_.empty()) Reap();
  if (free_.empty()) return nullptr;
  Slot* slot = free_.back();
  free_.pop_back();
  return slot;
}

void SlotPool::Give(Slot* slot) {
  MutexLock lock(mutex_);
  free_.push_back(slot);
  given_.NotifyAll();
  TellObserver();
}

void SlotPool::TellObserver() {
  if (Waker* const observer = std::exchange(observer_, nullptr)) observer->Wake();
}

bool SlotPool::ObserveAllFree(Waker& observer) {
  MutexLock lock(mutex_);
  Reap();
  observer_ = nullptr;
  if (free_.size() == slots_.size()) return false;
  for (Slot* slot : abandoned_) {
    if (slot->Observe(observer)) return true;
  }
  if (!abandoned_.empty()) Reap();  // they have ended in the meantime
  if (free_.size() == slots_.size()) return false;
  observer_ = &observer;
  return true;
}

void SlotPool::Abandon(Slot* slot) {
  slot->Cancel("nobody waits for the inference any more");
  slot->Forget();
  slot->LetGo();
  MutexLock lock(mutex_);
  abandoned_.push_back(slot);
  Reap();
  given_.NotifyAll();
  TellObserver();
}

bool SlotPool::AwaitAllFree(Clock& clock, TimePoint deadline) {
  MutexLock lock(mutex_);
  while (true) {
    // Abandoned inferences have nobody else who waits for them.
    while (!abandoned_.empty()) {
      Slot* slot = abandoned_.back();
      abandoned_.pop_back();
      lock.Unlock();
      const bool ended = slot->Wait(deadline);
      lock.Lock();
      if (!ended) {
        abandoned_.push_back(slot);
        return false;
      }
      free_.push_back(slot);
      given_.NotifyAll();  // another thread may wait for the same
    }
    if (free_.size() == slots_.size()) return true;
    if (clock.Now() >= deadline) return false;
    clock.WaitUntil(given_, mutex_, deadline);
  }
}

uint32_t SlotPool::in_use() const {
  MutexLock lock(mutex_);
  return static_cast<uint32_t>(slots_.size() - free_.size());
}

void SlotPool::Reap() {
  const auto ended = std::partition(abandoned_.begin(), abandoned_.end(),
                                    [](Slot* slot) { return !slot->Done(); });
  free_.insert(free_.end(), ended, abandoned_.end());
  abandoned_.erase(ended, abandoned_.end());
}

}  // namespace nrtd::scheduler
