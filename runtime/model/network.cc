// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/network.h"

#include <utility>

#include "base/before_long.h"
#include "base/log.h"
#include "base/timeouts.h"

namespace nrtd::runtime {
namespace {

std::vector<scheduler::Slot*> Pointers(const std::vector<std::unique_ptr<scheduler::Slot>>& slots) {
  std::vector<scheduler::Slot*> pointers;
  for (const auto& slot : slots) pointers.push_back(slot.get());
  return pointers;
}

}  // namespace

Network::Network(NetworkInfo info, Parts parts, Machine& machine, scheduler::GroupTable& groups)
    : info_(std::move(info)),
      machine_(machine),
      groups_(groups),
      neff_(std::move(parts.neff)),
      layout_(std::move(parts.layout)),
      charges_(std::move(parts.charges)),
      stages_(std::move(parts.stages)),
      host_nodes_(std::move(parts.host_nodes)),
      all_slots_(Pointers(parts.slots)),
      slots_(std::move(parts.slots)),
      deadlines_(machine_.watchdog(), [this] { PostEndOverdue(); }),
      drain_deadline_(machine_.watchdog(),
                      [this] {
                        MutexLock lock(mutex_);
                        if (drain_) Run(machine_.urgent_workers(), &Network::EndDrain);
                      }),
      release_deadline_(machine_.watchdog(), [this] {
        MutexLock lock(mutex_);
        if (release_) Run(machine_.workers(), &Network::EndRelease);
      }) {}

// A host node cannot be interrupted: an inference that nobody waits for may still be inside one,
// and write to its slot.
Network::~Network() {
  for (scheduler::Slot* slot : all_slots_) slot->Wait(TimePoint::max());
  MutexLock lock(mutex_);
  state_ = NetworkState::kUnloading;
  while (tasks_ > 0) settled_.Wait(mutex_);
}

NetworkState Network::state() const {
  MutexLock lock(mutex_);
  return state_;
}

std::string Network::failure() const {
  MutexLock lock(mutex_);
  return failure_;
}

Result<void> Network::Transit(NetworkState to) {
  auto legal = CheckTransition(state_, to);
  if (!legal)
    return tl::unexpected<Error>(std::move(legal.error()).In(fmt::format("model {}", info_.id)));
  state_ = to;
  return {};
}

void Network::AwaitReset() {
  MutexLock lock(mutex_);
  AwaitSettled();
}

void Network::AwaitSettled() {
  if (resetting_) BeforeLong();
  while (resetting_) settled_.Wait(mutex_);
}

// A reset takes some milliseconds. A few calls may wait for it; more would hold threads that other
// clients need.
Result<void> Network::AwaitSettledForCall() {
  constexpr uint32_t kMaxWaiters = 4;
  if (!resetting_) return {};
  if (reset_waiters_ >= kMaxWaiters)
    return Fail(Nerr::kQueueFull, "model {} is restarting: try again", info_.id);
  ++reset_waiters_;
  AwaitSettled();
  --reset_waiters_;
  return {};
}

Result<Inference> Network::Begin() {
  {
    MutexLock lock(mutex_);
    NRTD_TRY(AwaitSettledForCall());
    if (state_ == NetworkState::kFailed) {
      return Fail(Nerr::kFailedState, "model {} failed: {}; unload it and load it again", info_.id,
                  AsIs(failure_));
    }
    if (state_ != NetworkState::kRunning) {
      return Fail(Nerr::kInvalid, "model {} is {}, not READY: start it first", info_.id,
                  NetworkStateName(state_));
    }
  }
  scheduler::Slot* slot = slots_.Take();
  if (slot == nullptr) {
    return Fail(Nerr::kQueueFull,
                "model {} has {} inferences in flight, as many as ninfer allows: try again",
                info_.id, slots_.size());
  }
  return Inference(shared_from_this(), slot);
}

Result<void> Network::Submit(scheduler::Slot& slot, Completion completion, TimePoint deadline) {
  MutexLock lock(mutex_);
  NRTD_TRY(AwaitSettledForCall());
  if (state_ != NetworkState::kRunning) {
    return Fail(state_ == NetworkState::kFailed ? Nerr::kFailedState : Nerr::kInvalid,
                "model {} became {} before the inference could start", info_.id,
                NetworkStateName(state_));
  }
  slot.set_deadline(deadline);
  NRTD_TRY(slot.Submit(completion));
  deadlines_.SetNoLaterThan(deadline);
  return {};
}

// With the lock held, so that it is not just being submitted.
bool Network::Overdue(scheduler::Slot& slot) const {
  return slot.in_flight() && machine_.clock().Now() >= slot.deadline() && !slot.Done() &&
         !slot.cut_off();
}

std::string Network::LateText() const {
  return fmt::format(
      "an inference took longer than its timeout of {} s",
      std::chrono::duration_cast<std::chrono::seconds>(info_.params.timeout).count());
}

// On the watchdog's thread. The network is there until the task has ended.
void Network::PostEndOverdue() {
  MutexLock lock(mutex_);
  if (state_ != NetworkState::kUnloading) Run(machine_.urgent_workers(), &Network::EndOverdue);
}

// Cuts off what is late, and sets the timer for the next deadline.
void Network::EndOverdue() {
  for (scheduler::Slot* slot : all_slots_) CutOff(LateText(), slot);
  MutexLock lock(mutex_);  // nothing is being submitted
  TimePoint next = TimePoint::max();
  for (scheduler::Slot* slot : all_slots_) {
    if (slot->in_flight() && !slot->Done() && !slot->cut_off())
      next = std::min(next, slot->deadline());
  }
  deadlines_.SetNoLaterThan(next);
}

// Resets the cores, which ends all that is in flight. A network that ran restarts, unless it had
// done so and nothing has ended since: then it is Failed. `overdue` is the inference whose deadline
// has passed, null for all. While it is in flight the run that it belongs to cannot have ended; if
// it has ended after all, the cores may be another network's.
void Network::CutOff(const std::string& reason, scheduler::Slot* overdue) {
  bool restart = false;
  {
    MutexLock lock(mutex_);
    if (state_ != NetworkState::kRunning && state_ != NetworkState::kStopping) return;
    if (overdue != nullptr && !Overdue(*overdue)) return;
    restart = state_ == NetworkState::kRunning && !suspect_.exchange(true);
    if (restart) ++restarts_;
    resetting_ = true;
    state_ = restart ? NetworkState::kStarting : NetworkState::kFailed;
    if (!restart) failure_ = reason;
  }
  if (restart) {
    LogForClient(LogLevel::kWarning, "NMGR:Restart", "model {} ({}): {}", info_.id,
                 AsIs(info_.name), AsIs(reason));
  } else {
    Log(LogLevel::kError, "NMGR:FailModel", "model {} ({}): {}", info_.id, AsIs(info_.name),
        AsIs(reason));
  }
  if (overdue != nullptr) overdue->Expire(reason);
  // Before a core is reset and may be another network's.
  for (scheduler::Slot* slot : all_slots_) slot->CutOff(reason);
  // In the order of the stages: what one of them has handed on by the time that it is reset, the
  // next one's reset ends.
  for (const auto& stage : stages_) stage->channel().Reset(Nerr::kTimeout, reason);
  if (!restart) StopStages();
  MutexLock lock(mutex_);
  if (restart) state_ = NetworkState::kRunning;
  resetting_ = false;
  Settle();
}

void Network::CountOutcome(const scheduler::InferenceOutcome& outcome, Duration latency,
                           uint32_t begun_after_restarts) {
  done_.fetch_add(1, std::memory_order_relaxed);
  done_ns_.fetch_add(static_cast<uint64_t>(latency.count()), std::memory_order_relaxed);
  const bool ran = outcome.code == Nerr::kOk || outcome.code == Nerr::kInferCompletedWithNumErr ||
                   outcome.code == Nerr::kInferCompletedWithErr;
  if (ran && suspect_.load(std::memory_order_relaxed) && begun_after_restarts == restarts_)
    suspect_ = false;
  if (outcome.code == Nerr::kOk || outcome.code == Nerr::kInferCompletedWithNumErr) {
    const uint64_t now = outcome.device_ns;
    const uint64_t usual = usual_device_ns_.load(std::memory_order_relaxed);
    usual_device_ns_.store(now < usual ? now : usual + (now - usual) / 64,
                           std::memory_order_relaxed);
  }
  if (outcome.code != Nerr::kOk && outcome.code != Nerr::kInferCompletedWithNumErr) {
    failed_.fetch_add(1, std::memory_order_relaxed);
  }
}

Inference::Inference(Inference&& other) noexcept
    : network_(std::move(other.network_)),
      slot_(std::exchange(other.slot_, nullptr)),
      submitted_(other.submitted_),
      deadline_(other.deadline_),
      restarts_(other.restarts_),
      latency_(other.latency_) {}

Inference& Inference::operator=(Inference&& other) noexcept {
  if (this != &other) {
    Release();
    network_ = std::move(other.network_);
    slot_ = std::exchange(other.slot_, nullptr);
    submitted_ = other.submitted_;
    deadline_ = other.deadline_;
    restarts_ = other.restarts_;
    latency_ = other.latency_;
  }
  return *this;
}

Inference::~Inference() {
  Release();
}

void Inference::Release() {
  if (slot_ == nullptr) return;
  scheduler::Slot* slot = std::exchange(slot_, nullptr);
  if (slot->in_flight()) {
    network_->slots_.Abandon(slot);
  } else {
    network_->slots_.Give(slot);
  }
}

MutableByteSpan Inference::input(size_t index) {
  const TensorPort& port = network_->inputs()[index];
  return {slot_->data() + port.slot_offset, port.bytes};
}

ByteSpan Inference::output(size_t index) const {
  const TensorPort& port = network_->outputs()[index];
  return {slot_->data() + port.slot_offset, port.bytes};
}

Result<void> Inference::Submit(Completion completion) {
  const auto ahead = static_cast<int64_t>(std::max(network_->slots_.in_use(), 1U));
  submitted_ = network_->machine_.clock().Now();
  deadline_ = submitted_ + network_->info().params.timeout * ahead;
  restarts_ = network_->restarts_;
  return network_->Submit(*slot_, completion, deadline_);
}

scheduler::InferenceOutcome Inference::Wait() {
  if (!slot_->Wait(deadline_)) {
    network_->CutOff(network_->LateText(), slot_);
    // The reset has ended it; if another thread is in the middle of that, it ends in a moment. A
    // host node that it is in comes to its end first.
    slot_->Wait(TimePoint::max());
  }
  return Finish();
}

std::optional<scheduler::InferenceOutcome> Inference::Attend(Waker& waker) {
  Attendance attendance = Attendance::kLate;
  if (network_->EndsSoon()) {
    const TimePoint soon = network_->machine_.clock().Now() + Duration(kMostBriefNs);
    attendance = slot_->Attend(std::min(soon, deadline_), waker);
  }
  if (attendance == Attendance::kLate) {
    BeforeLong();
    attendance = slot_->Attend(deadline_, waker);
  }
  if (attendance == Attendance::kLate) {
    network_->CutOff(network_->LateText(), slot_);
    attendance = slot_->Attend(TimePoint::max(), waker);
  }
  if (attendance != Attendance::kDone) return std::nullopt;
  return Finish();
}

scheduler::InferenceOutcome Inference::Finish() {
  auto outcome = slot_->TakeOutcome();
  // Whoever learns of it finds the network running again, or its cores free.
  if (outcome.code == Nerr::kTimeout) network_->AwaitReset();
  latency_ = network_->machine_.clock().Now() - submitted_;
  network_->CountOutcome(outcome, latency_, restarts_);
  return outcome;
}

void Inference::Cancel(const std::string& reason) {
  slot_->Cancel(reason);
}

bool Inference::Done() {
  return slot_->Done() || network_->machine_.clock().Now() >= deadline_;
}

}  // namespace nrtd::runtime
