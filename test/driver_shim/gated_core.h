// SPDX-License-Identifier: Apache-2.0
//
// A core whose polls a test can hold, so that it decides what happens meanwhile.
#pragma once

#include "base/mutex.h"
#include "driver_shim/core.h"

namespace nrtd {

// Lets everybody through until Close(); then holds whoever arrives until Open(). Threadsafe.
class Gate {
 public:
  ~Gate() { Open(); }

  void Close() {
    MutexLock lock(mutex_);
    closed_ = true;
  }
  void Open() {
    MutexLock lock(mutex_);
    closed_ = false;
    changed_.NotifyAll();
  }
  // Blocks until somebody is held.
  void AwaitArrival() {
    MutexLock lock(mutex_);
    while (held_ == 0) changed_.Wait(mutex_);
  }
  void Pass() {
    MutexLock lock(mutex_);
    ++held_;
    changed_.NotifyAll();
    while (closed_) changed_.Wait(mutex_);
    --held_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  bool closed_ NRTD_GUARDED_BY(mutex_) = false;
  int held_ NRTD_GUARDED_BY(mutex_) = 0;
};

class GatedCore final : public Core {
 public:
  explicit GatedCore(Core& core) : core_(core) {}

  Gate before_poll;
  Gate after_poll;  // behind the device's work, in front of the driver's

  using Core::Poll;
  void Interrupt() override { core_.Interrupt(); }
  Progress Poll(const PollLimit& limit) override {
    before_poll.Pass();
    const Progress progress = core_.Poll(limit);
    after_poll.Pass();
    return progress;
  }
  CoreId id() const override { return core_.id(); }
  Result<ProgramId> LoadProgram(const ProgramImage& image) override {
    return core_.LoadProgram(image);
  }
  void UnloadProgram(ProgramId program) override { core_.UnloadProgram(program); }
  Result<void> Activate(ProgramId program, std::span<const QueueId> queues) override {
    return core_.Activate(program, queues);
  }
  void Deactivate() override { core_.Deactivate(); }
  Result<void> AttachRing(QueueId queue, const RingConfig& ring) override {
    return core_.AttachRing(queue, ring);
  }
  void DetachRing(QueueId queue) override { core_.DetachRing(queue); }
  Result<void> AttachNotifications(NotificationKind kind, const RingConfig& ring) override {
    return core_.AttachNotifications(kind, ring);
  }
  void RingDoorbell(QueueId queue, uint32_t count) override { core_.RingDoorbell(queue, count); }
  uint32_t ReadSemaphore(uint32_t index) const override { return core_.ReadSemaphore(index); }
  void Reset() override { core_.Reset(); }
  CoreCounters counters() const override { return core_.counters(); }

 private:
  Core& core_;
};

}  // namespace nrtd
