// SPDX-License-Identifier: Apache-2.0
//
// The driver's side of one core: submits executions in order, finds out when they end, and decides
// which thread polls.
//
// Several programs may be started on one core. It runs one of them at a time and changes to another
// when an execution of that one comes to the front: executions keep their order over all programs.
// The core is given two executions at a time, the one that runs and the next; those behind can be
// taken back.
//
// A core is polled by one thread at a time. An execution submitted with Completion::kPolled is
// driven by the caller of Wait() or Attend() for it: no handoff between threads lies between a
// request and its answer. While another thread polls, a caller of Wait() sleeps; a caller of
// Attend() leaves, and is called back when the core is free or the execution is done. One submitted
// with kInterrupt is driven by the channel's own completion thread, so that it goes on when nobody
// waits. Executions end in the order in which they were submitted: whoever drives one drives those
// in front of it.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/mutex.h"
#include "driver_shim/core.h"
#include "driver_shim/dma_ring.h"
#include "driver_shim/notification_queue.h"
#include "driver_shim/waker.h"

namespace nrtd {

enum class Completion { kPolled, kInterrupt };

// How an execution ended. code: kOk; kInferCompletedWithNumErr (an output holds NaN);
// kInferCompletedWithErr (the program or a transfer failed; detail says where); kHwError (its
// notification was lost); kInferCancelled; or the code given to Reset().
struct ExecutionOutcome {
  Nerr code = Nerr::kOk;
  std::string detail;      // empty when code is kOk
  uint64_t device_ns = 0;  // the core worked on it
};

class Execution;

// A loaded program with its rings on one channel. Owned by the caller, in place from
// CoreChannel::Start() to Stop().
class ProgramRings {
 public:
  // What an instruction does, for the text of its failure: "Gather 'embedding', indices 'tokens'".
  using NameInstruction = std::function<std::string(uint32_t engine, uint32_t instruction)>;

  explicit ProgramRings(ProgramId program, NameInstruction name = {})
      : program_(program), name_(std::move(name)) {}
  ProgramRings(const ProgramRings&) = delete;
  ProgramRings& operator=(const ProgramRings&) = delete;

 private:
  friend class CoreChannel;
  const ProgramId program_;
  const NameInstruction name_;
  // Guarded by the channel's mutex.
  bool started_ = false;
  std::vector<DmaRing> rings_;  // by the program's queue numbers
};

// What one execution puts into one of its program's queues.
struct QueueWork {
  uint32_t queue = 0;  // the program's own numbering
  std::span<const Descriptor> descriptors;
};

// Told of an execution's end, on the thread that polled, before Wait() returns and without the
// channel's lock: the place to submit what comes next.
class ExecutionListener {
 public:
  virtual void OnExecutionDone(Execution& execution) = 0;

 protected:
  ~ExecutionListener() = default;
};

// One run of a program. Owned by the caller, in place from Submit() until it is done, reusable
// afterwards.
class Execution {
 public:
  explicit Execution(ExecutionListener* listener = nullptr) : listener_(listener) {}
  Execution(const Execution&) = delete;
  Execution& operator=(const Execution&) = delete;

  // After the end: from the listener's call or Wait() on.
  const ExecutionOutcome& outcome() const { return outcome_; }

 private:
  friend class CoreChannel;
  enum class State : uint8_t { kIdle, kQueued, kDone };
  // All guarded by the channel's mutex; outcome_ is the poller's until kDone.
  ExecutionListener* listener_;
  State state_ = State::kIdle;
  Completion completion_ = Completion::kPolled;
  uint32_t waiters_ = 0;
  // Of the caller of Attend(); null while it is not parked.
  Waker* waker_ = nullptr;
  bool called_ = false;  // it was called, and has not come yet
  Waker* observer_ = nullptr;
  uint64_t tag_ = 0;
  ProgramRings* program_ = nullptr;
  std::span<const QueueWork> work_;
  bool pushed_ = false;     // its descriptors were put into the rings
  bool in_device_ = false;  // and the device may have them still
  Execution* next_ = nullptr;
  ExecutionOutcome outcome_;
  CondVar done_;
};

// Threadsafe.
class CoreChannel {
 public:
  // `core`, `pool` and `clock` outlive the channel; the pool's pages are mapped for the core's
  // device.
  static Result<std::unique_ptr<CoreChannel>> Create(Core& core, memory::HugePagePool& pool,
                                                     Clock& clock);
  ~CoreChannel();

  Core& core() { return core_; }

  // Lets the program run from now on; `ring_capacities[i]` is the size of its queue i, a power of
  // two that holds all executions in flight. kInvalid when it is started already. kResource: no DMA
  // memory for the rings.
  Result<void> Start(ProgramRings& program, std::span<const uint32_t> ring_capacities);
  // No execution of it is in flight. Nothing happens when it is not started.
  void Stop(ProgramRings& program);

  // Queues one execution of the program; `work` stays in place until it is done. kInvalid when the
  // program is not started, kResource when a ring is full; nothing was queued then. An execution
  // for which the core cannot change to its program, later, ends with that error.
  Result<void> Submit(Execution& execution, ProgramRings& program, std::span<const QueueWork> work,
                      Completion completion);

  // Until the execution is done (true) or the deadline has passed (false; it is still queued). The
  // execution was submitted. A thread that runs an instruction when the deadline passes returns
  // behind that.
  bool Wait(Execution& execution, TimePoint deadline);
  // As Wait(), but instead of sleeping it leaves `waker` behind and answers kParked: the call may
  // go on, on another thread, before this returns. One caller at a time for each execution; what is
  // parked attends again once it was called, unless Forget() was. Deadlines of what is parked are
  // the caller's business.
  Attendance Attend(Execution& execution, TimePoint deadline, Waker& waker);
  // The caller of Attend() will not come again.
  void Forget(Execution& execution);
  // Calls `observer` once when the execution is done; it replaces an earlier one. False, and
  // nothing is called, when it is done already.
  bool Observe(Execution& execution, Waker& observer);
  // Without waiting or polling.
  bool Done(const Execution& execution);
  // From now on the execution goes on though nobody waits, as if it had been submitted with
  // kInterrupt. Nothing happens when it is not in flight.
  void Drive(Execution& execution);

  // Takes back an execution that the core has not been given yet: it ends with kInferCancelled and
  // the reason. False when it is too late for that, or nothing is in flight.
  bool Cancel(Execution& execution, const std::string& reason);

  // Resets the core, in the middle of an execution if need be. Every execution in flight ends with
  // `code` and `detail`. Programs stay started.
  void Reset(Nerr code, const std::string& detail);

 private:
  CoreChannel(Core& core, memory::HugePagePool& pool, Clock& clock);
  Result<void> AttachCommonRings() NRTD_REQUIRES(mutex_);
  void AcquirePolling() NRTD_REQUIRES(mutex_);
  void ReleasePolling() NRTD_REQUIRES(mutex_);
  Result<void> Activate(ProgramRings& program) NRTD_REQUIRES(mutex_);
  void Deactivate() NRTD_REQUIRES(mutex_);
  static bool Fits(const ProgramRings& program, std::span<const QueueWork> work);
  Result<void> Push(Execution& execution) NRTD_REQUIRES(mutex_);
  bool RoomInDevice() const NRTD_REQUIRES(mutex_);
  void PushQueued() NRTD_REQUIRES(mutex_);
  bool MayPoll() const NRTD_REQUIRES(mutex_) { return !polling_ && !stalled_ && !resetting_; }
  void PollOnce(const PollLimit& limit) NRTD_REQUIRES(mutex_);
  void Collect() NRTD_REQUIRES(mutex_);
  // Of the instruction at fault in the execution at the head.
  std::string NameOf(const Notification& notification) const NRTD_REQUIRES(mutex_);
  void FinishHead(Nerr code, std::string detail, uint64_t device_ns) NRTD_REQUIRES(mutex_);
  void FinishLost() NRTD_REQUIRES(mutex_);
  void End(Execution& execution, Nerr code, std::string detail, uint64_t device_ns)
      NRTD_REQUIRES(mutex_);
  void Announce() NRTD_REQUIRES(mutex_);
  void HandOver() NRTD_REQUIRES(mutex_);
  Execution* OldestAwaited() const NRTD_REQUIRES(mutex_);
  bool ThreadHasWork() const NRTD_REQUIRES(mutex_);
  void RunCompletionThread();

  Core& core_;
  memory::HugePagePool& pool_;
  Clock& clock_;

  Mutex mutex_;
  CondVar polling_free_;
  CondVar thread_wake_;
  bool stop_thread_ NRTD_GUARDED_BY(mutex_) = false;
  bool polling_ NRTD_GUARDED_BY(mutex_) = false;
  // The last poll found nothing that could go on; polling again helps only after another
  // submission.
  bool stalled_ NRTD_GUARDED_BY(mutex_) = false;
  bool resetting_ NRTD_GUARDED_BY(mutex_) = false;
  ProgramRings* active_ NRTD_GUARDED_BY(mutex_) = nullptr;  // the one that the core runs
  uint64_t next_tag_ NRTD_GUARDED_BY(mutex_) = 1;
  Execution* head_ NRTD_GUARDED_BY(mutex_) = nullptr;  // oldest in flight
  Execution* tail_ NRTD_GUARDED_BY(mutex_) = nullptr;
  Execution* ended_ NRTD_GUARDED_BY(mutex_) = nullptr;  // outcome known, listener not told yet
  Execution** ended_tail_ NRTD_GUARDED_BY(mutex_) = &ended_;

  std::unique_ptr<DmaRing> execution_ring_ NRTD_GUARDED_BY(mutex_);
  std::unique_ptr<NotificationQueue> errors_ NRTD_GUARDED_BY(mutex_);
  std::unique_ptr<NotificationQueue> completions_ NRTD_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace nrtd
