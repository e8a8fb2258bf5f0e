// SPDX-License-Identifier: Apache-2.0
#include "scheduler/slot.h"

#include <utility>

namespace nrtd::scheduler {
namespace {

// An output with NaN is still an output: the next stage runs on it.
bool CarriesOutputs(Nerr code) {
  return code == Nerr::kOk || code == Nerr::kInferCompletedWithNumErr;
}

}  // namespace

Slot::Slot(memory::DmaBuffer memory, std::vector<StagePlan> stages) : memory_(std::move(memory)) {
  StageListener& self = *this;
  for (StagePlan& plan : stages) {
    const size_t index = stages_.size();
    if (plan.pool != nullptr) {
      stages_.push_back(std::make_unique<HostStage>(self, index, *plan.pool, std::move(plan.host)));
    } else {
      stages_.push_back(std::make_unique<CoreStage>(self, index, std::move(plan.core)));
    }
  }
}

Result<void> Slot::SubmitStage(size_t index) {
  const Completion completion = completion_;
  NRTD_TRY(stages_[index]->Submit(completion));
  // It was let go in the meantime, perhaps before there was anything here to drive.
  if (completion_ != completion) stages_[index]->Drive();
  return {};
}

// With the lock held until it is submitted, so that StopSubmitting() comes before or after, but not
// in between.
Result<void> Slot::SubmitNext(size_t index) {
  MutexLock lock(submitting_);
  if (stop_) return tl::unexpected<Error>(*stop_);
  return SubmitStage(index);
}

void Slot::StopSubmitting(Error why) {
  MutexLock lock(submitting_);
  // Whoever was cut off stays so.
  if (!stop_ || stop_->code != Nerr::kTimeout) stop_ = std::move(why);
}

void Slot::Cancel(const std::string& reason) {
  if (!in_flight_) return;
  StopSubmitting({Nerr::kInferCancelled, reason});
  for (const auto& stage : stages_) stage->Cancel(reason);
}

// The stage is not seen as done before the call returns, so the slot stays in flight all the while.
void Slot::OnStageDone(size_t index) {
  if (index + 1 == stages_.size() || !CarriesOutputs(stages_[index]->outcome().code)) return;
  last_stage_ = index + 1;
  auto submitted = SubmitNext(index + 1);
  if (submitted) return;
  submission_ = std::move(submitted);
  last_stage_ = index;
}

Result<void> Slot::Submit(Completion completion) {
  completion_ = completion;
  last_stage_ = 0;
  submission_ = {};
  expired_ = false;
  {
    MutexLock lock(submitting_);
    stop_.reset();
  }
  in_flight_ = true;
  auto submitted = SubmitStage(0);
  if (!submitted) in_flight_ = false;
  return submitted;
}

bool Slot::Wait(TimePoint deadline) {
  // last_stage_ moves on while stages end; it is read again after each wait, which orders the two.
  for (size_t i = 0; in_flight_; ++i) {
    if (!stages_[i]->Wait(deadline)) return false;
    if (i == last_stage_) in_flight_ = false;
  }
  return true;
}

bool Slot::Done() {
  for (size_t i = 0; in_flight_; ++i) {
    if (!stages_[i]->Done()) return false;
    if (i == last_stage_) in_flight_ = false;
  }
  return true;
}

Attendance Slot::Attend(TimePoint deadline, Waker& waker) {
  for (size_t i = 0; in_flight_; ++i) {
    const Attendance attendance = stages_[i]->Attend(deadline, waker);
    if (attendance != Attendance::kDone) return attendance;
    if (i == last_stage_) in_flight_ = false;
  }
  return Attendance::kDone;
}

bool Slot::Observe(Waker& observer) {
  for (size_t i = 0; in_flight_; ++i) {
    if (stages_[i]->Observe(observer)) return true;
    if (i == last_stage_) in_flight_ = false;
  }
  return false;
}

void Slot::LetGo() {
  completion_ = Completion::kInterrupt;
  for (const auto& stage : stages_) stage->Drive();
}

void Slot::Forget() {
  for (const auto& stage : stages_) stage->Forget();
}

InferenceOutcome Slot::TakeOutcome() {
  InferenceOutcome outcome;
  for (size_t i = 0; i <= last_stage_; ++i) {
    const ExecutionOutcome& stage = stages_[i]->outcome();
    outcome.device_ns += stage.device_ns;
    if (stage.code != Nerr::kOk && CarriesOutputs(outcome.code)) {
      outcome.code = stage.code;
      outcome.detail = stage.detail;
    }
  }
  if (!submission_) {
    outcome.code = submission_.error().code;
    outcome.detail = submission_.error().text;
  }
  if (expired_ && CarriesOutputs(outcome.code)) {
    MutexLock lock(submitting_);
    if (stop_) outcome = {stop_->code, stop_->text, outcome.device_ns};
  }
  return outcome;
}

}  // namespace nrtd::scheduler
