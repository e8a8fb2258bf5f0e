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

Slot::Stage::Stage(Slot& owner, size_t stage_index, StagePlan plan)
    : slot(owner),
      index(stage_index),
      channel(plan.channel),
      execution(this),
      queues_(std::move(plan.queues)) {
  for (const StagePlan::Queue& queue : queues_) work.push_back({queue.queue, queue.descriptors});
}

Result<void> Slot::Stage::Submit() {
  const Completion completion = slot.completion_;
  NRTD_TRY(channel->Submit(execution, work, completion));
  // It was let go in the meantime, perhaps before there was anything here to drive.
  if (slot.completion_ != completion) channel->Drive(execution);
  return {};
}

// This stage is not seen as done before the call returns, so the slot stays in flight all the
// while.
void Slot::Stage::OnExecutionDone(Execution& ended) {
  if (index + 1 == slot.stages_.size() || !CarriesOutputs(ended.outcome().code)) return;
  slot.last_stage_ = index + 1;
  auto submitted = slot.stages_[index + 1]->Submit();
  if (submitted) return;
  slot.submission_ = std::move(submitted);
  slot.last_stage_ = index;
}

Slot::Slot(memory::DmaBuffer memory, std::vector<StagePlan> stages) : memory_(std::move(memory)) {
  for (size_t i = 0; i < stages.size(); ++i) {
    stages_.push_back(std::make_unique<Stage>(*this, i, std::move(stages[i])));
  }
}

Result<void> Slot::Submit(Completion completion) {
  completion_ = completion;
  last_stage_ = 0;
  submission_ = {};
  in_flight_ = true;
  auto submitted = stages_.front()->Submit();
  if (!submitted) in_flight_ = false;
  return submitted;
}

bool Slot::Wait(TimePoint deadline) {
  // last_stage_ moves on while stages end; it is read again after each wait, which orders the two.
  for (size_t i = 0; in_flight_; ++i) {
    if (!stages_[i]->channel->Wait(stages_[i]->execution, deadline)) return false;
    if (i == last_stage_) in_flight_ = false;
  }
  return true;
}

bool Slot::Done() {
  for (size_t i = 0; in_flight_; ++i) {
    if (!stages_[i]->channel->Done(stages_[i]->execution)) return false;
    if (i == last_stage_) in_flight_ = false;
  }
  return true;
}

void Slot::LetGo() {
  completion_ = Completion::kInterrupt;
  for (const auto& stage : stages_) stage->channel->Drive(stage->execution);
}

InferenceOutcome Slot::TakeOutcome() {
  InferenceOutcome outcome;
  for (size_t i = 0; i <= last_stage_; ++i) {
    const ExecutionOutcome& stage = stages_[i]->execution.outcome();
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
  return outcome;
}

}  // namespace nrtd::scheduler
