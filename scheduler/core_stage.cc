// SPDX-License-Identifier: Apache-2.0
#include "scheduler/core_stage.h"

#include <utility>

namespace nrtd::scheduler {

CoreStage::CoreStage(StageListener& listener, size_t index, CorePlan plan)
    : listener_(listener),
      index_(index),
      channel_(plan.channel),
      program_(plan.program),
      queues_(std::move(plan.queues)) {
  for (const CorePlan::Queue& queue : queues_) work_.push_back({queue.queue, queue.descriptors});
}

Result<void> CoreStage::Submit(Completion completion) {
  return channel_->Submit(execution_, *program_, work_, completion);
}

}  // namespace nrtd::scheduler
