// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "scheduler/stage.h"

namespace nrtd::scheduler {

// How one stage's descriptors go into its core's queues; the same for every inference of a slot.
struct CorePlan {
  CoreChannel* channel = nullptr;   // outlives the slot
  ProgramRings* program = nullptr;  // on that channel; outlives the slot
  struct Queue {
    uint32_t queue = 0;  // the program's numbering
    std::vector<Descriptor> descriptors;
  };
  std::vector<Queue> queues;
};

// A subgraph on its core.
class CoreStage final : public Stage, private ExecutionListener {
 public:
  // `listener` outlives the stage.
  CoreStage(StageListener& listener, size_t index, CorePlan plan);

  Result<void> Submit(Completion completion) override;
  bool Wait(TimePoint deadline) override { return channel_->Wait(execution_, deadline); }
  bool Done() override { return channel_->Done(execution_); }
  Attendance Attend(TimePoint deadline, Waker& waker) override {
    return channel_->Attend(execution_, deadline, waker);
  }
  void Forget() override { channel_->Forget(execution_); }
  bool Observe(Waker& observer) override { return channel_->Observe(execution_, observer); }
  void Drive() override { channel_->Drive(execution_); }
  void Cancel(const std::string& reason) override { channel_->Cancel(execution_, reason); }
  const ExecutionOutcome& outcome() const override { return execution_.outcome(); }

 private:
  void OnExecutionDone(Execution&) override { listener_.OnStageDone(index_); }

  StageListener& listener_;
  const size_t index_;
  CoreChannel* const channel_;
  ProgramRings* const program_;
  const std::vector<CorePlan::Queue> queues_;
  std::vector<QueueWork> work_;  // views of queues_
  Execution execution_{this};
};

}  // namespace nrtd::scheduler
