// SPDX-License-Identifier: Apache-2.0
//
// A slot: room for one inference in flight, with the host memory of its tensors and, for each
// stage, the descriptors that move them. Everything is prepared when the network is loaded; an
// inference allocates nothing.
//
// The stages of a network run one after the other. Each is one subgraph on one core, or a host
// node; what a stage leaves in the slot's memory the next one reads. Stage i + 1 is submitted when
// stage i has ended, by whoever polled stage i's core, so a pipeline keeps all its cores busy when
// several slots are in flight.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "memory/dma_buffer.h"
#include "scheduler/core_stage.h"
#include "scheduler/host_pool.h"

namespace nrtd::scheduler {

// Where a stage runs: on a core, or on the host's CPUs.
struct StagePlan {
  CorePlan core = {};
  HostPool* pool = nullptr;  // set: on these CPUs, and not on a core
  HostFunction host = {};    // what they do with the slot's memory
};

// How an inference ended.
struct InferenceOutcome {
  Nerr code = Nerr::kOk;  // as ExecutionOutcome, or kResource when a stage could not be submitted
  std::string detail;
  uint64_t device_ns = 0;  // all stages together
};

// Threads: one owner between SlotPool::Take() and SlotPool::Give(), apart from the completions;
// Wait(), Done(), Observe(), in_flight(), LetGo(), CutOff() and Cancel() by any thread, but not
// during Submit().
class Slot final : private StageListener {
 public:
  // `memory` holds the tensors that the plans' descriptors name.
  Slot(memory::DmaBuffer memory, std::vector<StagePlan> stages);
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;

  std::byte* data() const { return memory_.data(); }
  uint64_t size() const { return memory_.size(); }

  // Starts the inference whose inputs are in the slot's memory. The errors of CoreChannel::Submit;
  // nothing is in flight then.
  Result<void> Submit(Completion completion);
  // When the inference in flight is late: kept for the network, which acts on it. Any thread.
  void set_deadline(TimePoint deadline) { deadline_ = deadline; }
  TimePoint deadline() const { return deadline_; }

  // Until the inference has ended (true), or the deadline has passed (false; it is still in
  // flight).
  bool Wait(TimePoint deadline);
  bool Done();
  // As Wait() for a call that holds no thread while there is nothing for it to do: see
  // CoreChannel::Attend(). After kParked the slot may be another inference's already.
  Attendance Attend(TimePoint deadline, Waker& waker);
  // Calls `observer` once when the inference has come further: look again. False, and nothing is
  // called, when it is not in flight.
  bool Observe(Waker& observer);
  // After Submit() and until Wait() or Done() said true.
  bool in_flight() const { return in_flight_; }
  // The inference goes on, all its stages, though nobody waits for it any more.
  void LetGo();
  // The caller of Attend() will not come again.
  void Forget();
  // Of the inference in flight no other stage begins: when this returns, it submits nothing to a
  // core that may soon be another network's. It ends with its present stage, with kTimeout and the
  // reason if stages are left. Any thread; not beside Submit().
  void CutOff(const std::string& reason) { StopSubmitting({Nerr::kTimeout, reason}); }
  // The same for the inference whose deadline has passed: it ends with kTimeout in any case.
  void Expire(const std::string& reason) {
    expired_ = true;
    CutOff(reason);
  }
  // Was it cut off since its Submit()?
  bool cut_off() NRTD_EXCLUDES(submitting_) {
    MutexLock lock(submitting_);
    return stop_ && stop_->code == Nerr::kTimeout;
  }
  // Nobody wants the inference in flight any more: no other stage begins, and the present one does
  // not either if it has to wait for its core still. It ends with kInferCancelled then, else with
  // its present stage. Any thread; not beside Submit().
  void Cancel(const std::string& reason);

  // After Wait() or Done() said true.
  InferenceOutcome TakeOutcome();

 private:
  void OnStageDone(size_t index) override;
  Result<void> SubmitStage(size_t index);
  Result<void> SubmitNext(size_t index) NRTD_EXCLUDES(submitting_);
  void StopSubmitting(Error why) NRTD_EXCLUDES(submitting_);

  memory::DmaBuffer memory_;
  std::vector<std::unique_ptr<Stage>> stages_;
  std::atomic<Completion> completion_ = Completion::kPolled;
  std::atomic<bool> in_flight_ = false;
  std::atomic<bool> expired_ = false;  // before it ended
  std::atomic<TimePoint> deadline_{};
  // The stage behind which nothing was submitted: the last one, or the one that failed. Written
  // before that stage is seen as done.
  std::atomic<size_t> last_stage_ = 0;
  Result<void> submission_;  // of the stage behind last_stage_
  Mutex submitting_;
  std::optional<Error> stop_ NRTD_GUARDED_BY(submitting_);  // no stage begins any more
};

}  // namespace nrtd::scheduler
