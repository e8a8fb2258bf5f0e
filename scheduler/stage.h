// SPDX-License-Identifier: Apache-2.0
//
// One stage of an inference: what a slot runs without caring where.
#pragma once

#include <cstddef>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "driver_shim/core_channel.h"

namespace nrtd::scheduler {

// Told of a stage's end, before Wait() for it returns and without a lock: the place to submit what
// comes next.
class StageListener {
 public:
  virtual void OnStageDone(size_t index) = 0;

 protected:
  ~StageListener() = default;
};

// Reusable after each end. Submit() and outcome() by the slot's owner or the listener's call;
// Wait(), Done(), Drive() and Cancel() by any thread.
class Stage {
 public:
  virtual ~Stage() = default;
  // Nothing is in flight after an error.
  virtual Result<void> Submit(Completion completion) = 0;
  // Until it is done (true) or the deadline has passed (false; it goes on). It was submitted.
  virtual bool Wait(TimePoint deadline) = 0;
  virtual bool Done() = 0;
  // As CoreChannel's: for calls that hold no thread while there is nothing to do for it.
  virtual Attendance Attend(TimePoint deadline, Waker& waker) = 0;
  virtual void Forget() = 0;
  virtual bool Observe(Waker& observer) = 0;
  // It goes on though nobody waits.
  virtual void Drive() = 0;
  // Ends it with kInferCancelled and the reason if it was submitted and has not begun.
  virtual void Cancel(const std::string& reason) = 0;
  // After the end.
  virtual const ExecutionOutcome& outcome() const = 0;
};

}  // namespace nrtd::scheduler
