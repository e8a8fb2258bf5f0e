// SPDX-License-Identifier: Apache-2.0
//
// Starting, stopping and retiring a network: operations that hold no thread while they wait.
#include <utility>

#include "base/log.h"
#include "base/timeouts.h"
#include "runtime/await.h"
#include "runtime/model/network.h"

namespace nrtd::runtime {

// The last thing that a task does with the network, which may be destroyed as soon as the lock is
// free.
void Network::Run(Workers& workers, void (Network::*step)()) {
  tasks_.fetch_add(1);
  workers.Post([this, step] {
    (this->*step)();
    MutexLock lock(mutex_);
    tasks_.fetch_sub(1);
    Settle();
  });
}

void Network::Settle() {
  settled_.NotifyAll();
  for (std::function<void()>& step : settled_steps_) machine_.workers().Post(std::move(step));
  settled_steps_.clear();
}

void Network::WhenIdle(std::function<void()> step) {
  {
    MutexLock lock(mutex_);
    if (resetting_ || tasks_ > 0) {
      settled_steps_.push_back(
          [this, step = std::move(step)]() mutable { WhenIdle(std::move(step)); });
      return;
    }
  }
  step();
}

void Network::Start(Then then) {
  Result<void> refused;
  {
    MutexLock lock(mutex_);
    if (resetting_) {
      settled_steps_.push_back(
          [this, then = std::move(then)]() mutable { Start(std::move(then)); });
      return;
    }
    if (retiring_) {
      refused = Fail(Nerr::kInvalid, "model {} is being unloaded", info_.id);
    } else if (state_ != NetworkState::kRunning) {
      refused = Transit(NetworkState::kStarting);
    }
    if (refused && state_ == NetworkState::kStarting) {
      lock.Unlock();
      then(StartStages());
      return;
    }
  }
  then(std::move(refused));
}

Result<void> Network::StartStages() {
  Result<void> started = groups_.BeginRunning(info_.group, info_.id);
  const bool took_group = started.has_value();
  size_t running = 0;
  while (started && running < stages_.size()) {
    started = stages_[running]->Start(info_.params.ninfer);
    if (started) ++running;
  }
  if (!started) {
    for (size_t i = 0; i < running; ++i) stages_[i]->Stop();
    if (took_group) groups_.EndRunning(info_.group, info_.id);
  }
  MutexLock lock(mutex_);
  // Nothing was running, so nothing has failed: a start that was refused leaves it where it was.
  state_ = started ? NetworkState::kRunning : NetworkState::kStandby;
  Settle();
  return started;
}

void Network::StopStages() {
  for (const auto& stage : stages_) stage->Stop();
  groups_.EndRunning(info_.group, info_.id);
}

void Network::Stop(Then then) {
  Result<void> refused;
  TimePoint deadline;
  {
    MutexLock lock(mutex_);
    if (resetting_) {
      settled_steps_.push_back([this, then = std::move(then)]() mutable { Stop(std::move(then)); });
      return;
    }
    if (state_ != NetworkState::kStandby) refused = Transit(NetworkState::kStopping);
    if (!refused || state_ == NetworkState::kStandby) {
      lock.Unlock();
      then(std::move(refused));
      return;
    }
    deadline = IdleDeadline(Urgency::kFinishFirst);
  }
  Drain(deadline, [this, then = std::move(then)] { FinishStop(then); });
}

// What is in flight has ended by then, whatever happens.
TimePoint Network::IdleDeadline(Urgency urgency) const {
  if (urgency == Urgency::kAtOnce || hurried_) return machine_.clock().Now() + kAbandonedGrace;
  const Duration all = info_.params.timeout * static_cast<int64_t>(all_slots_.size());
  return machine_.clock().Now() + std::min(all + kDrainMargin, kMaxDrain);
}

// Calls `then` when no slot is in flight any more. What is not driven by its waiter goes on by
// itself.
void Network::Drain(TimePoint deadline, std::function<void()> then) {
  {
    MutexLock lock(mutex_);
    draining_ = 0;
    for (scheduler::Slot* slot : all_slots_) {
      if (slot->in_flight()) slot->LetGo();
    }
    if (IsDraining()) {
      // Once the lock is free another thread may call `then`, with which the network may go.
      drain_ = std::move(then);
      drain_deadline_.Set(deadline);
      return;
    }
  }
  then();
}

// False: all slots have ended. Otherwise ContinueDrain() comes when the next one has.
bool Network::IsDraining() {
  for (; draining_ < all_slots_.size(); ++draining_)
    if (all_slots_[draining_]->Observe(drain_step_)) return true;
  return false;
}

void Network::ContinueDrain() {
  std::function<void()> then;
  {
    MutexLock lock(mutex_);
    if (!drain_ || IsDraining()) return;
    then = std::exchange(drain_, nullptr);
    drain_deadline_.Cancel();
  }
  then();
}

// The deadline of a drain has passed.
void Network::EndDrain() {
  {
    MutexLock lock(mutex_);
    if (!drain_) return;
  }
  CutOff(fmt::format("model {}: an inference did not end in time while stopping", info_.id),
         nullptr);
  std::function<void()> then;
  {
    MutexLock lock(mutex_);
    then = std::exchange(drain_, nullptr);
  }
  if (then) then();
}

void Network::FinishStop(const Then& then) {
  Result<void> stopped;
  {
    MutexLock lock(mutex_);
    if (resetting_) {
      settled_steps_.push_back([this, then] { FinishStop(then); });
      return;
    }
    // A deadline may have failed the network meanwhile, and it may have been retired since: the
    // cores may be another's by now.
    if (state_ != NetworkState::kStopping)
      stopped = Fail(Nerr::kTimeout, "model {} failed while stopping: {}", info_.id, failure_);
  }
  if (stopped) {
    StopStages();
    MutexLock lock(mutex_);
    state_ = NetworkState::kStandby;
    Settle();
  }
  then(std::move(stopped));
}

void Network::Retire(Urgency urgency, Then then) {
  bool retired_before = false;
  {
    MutexLock lock(mutex_);
    retired_before = std::exchange(retiring_, true);
  }
  if (retired_before) {
    then(Fail(Nerr::kInvalid, "model {} is being unloaded", info_.id));
    return;
  }
  if (urgency == Urgency::kAtOnce) Hurry();
  RetireSettled(urgency, then);
}

void Network::RetireSettled(Urgency urgency, const Then& then) {
  const auto finish = [this, then](const Result<void>&) {
    // A stop that ran into its bound leaves the network Failed with its cores reset: it can go all
    // the same.
    WhenIdle([this, then] {
      Result<void> retired;
      {
        MutexLock lock(mutex_);
        retired = Transit(NetworkState::kUnloading);
      }
      then(std::move(retired));
    });
  };
  TimePoint deadline;
  {
    MutexLock lock(mutex_);
    if (state_ == NetworkState::kStarting || state_ == NetworkState::kStopping || resetting_) {
      settled_steps_.push_back([this, urgency, then] { RetireSettled(urgency, then); });
      return;
    }
    if (state_ == NetworkState::kRunning) {
      state_ = NetworkState::kStopping;
      deadline = IdleDeadline(urgency);
    }
  }
  if (deadline == TimePoint()) {
    finish({});
  } else {
    Drain(deadline, [this, finish] { FinishStop(finish); });
  }
}

void Network::Hurry() {
  MutexLock lock(mutex_);
  hurried_ = true;
  if (drain_) drain_deadline_.SetNoLaterThan(machine_.clock().Now() + kAbandonedGrace);
}

void Network::AwaitReleased(std::function<void()> then) {
  {
    MutexLock lock(mutex_);
    if (slots_.ObserveAllFree(release_step_)) {
      release_ = std::move(then);  // as in Drain()
      release_deadline_.Set(machine_.clock().Now() + kDrainMargin);
      return;
    }
  }
  WhenIdle(std::move(then));
}

void Network::ContinueRelease() {
  std::function<void()> then;
  {
    MutexLock lock(mutex_);
    if (!release_ || slots_.ObserveAllFree(release_step_)) return;
    then = std::exchange(release_, nullptr);
    release_deadline_.Cancel();
  }
  WhenIdle(std::move(then));
}

void Network::EndRelease() {
  std::function<void()> then;
  {
    MutexLock lock(mutex_);
    then = std::exchange(release_, nullptr);
  }
  if (!then) return;
  Log(LogLevel::kWarning, "NMGR:Unload",
      "model {}: {} inferences still hold their slots; freed when they let go", info_.id,
      slots_.in_use());
  WhenIdle(std::move(then));
}

void Network::AwaitQuiet(std::function<void()> then) {
  Drain(TimePoint::max(), [this, then = std::move(then)]() mutable { WhenIdle(std::move(then)); });
}

Result<void> Network::Start() {
  Awaited<Result<void>> done;
  Start([&](Result<void> result) { done.Set(std::move(result)); });
  return done.Wait(machine_.clock());
}

Result<void> Network::Stop() {
  Awaited<Result<void>> done;
  Stop([&](Result<void> result) { done.Set(std::move(result)); });
  return done.Wait(machine_.clock());
}

Result<void> Network::Retire(Urgency urgency) {
  Awaited<Result<void>> done;
  Retire(urgency, [&](Result<void> result) { done.Set(std::move(result)); });
  return done.Wait(machine_.clock());
}

void Network::AwaitReleased() {
  Awaited<bool> done;
  AwaitReleased([&] { done.Set(true); });
  (void)done.Wait(machine_.clock());
}

}  // namespace nrtd::runtime
