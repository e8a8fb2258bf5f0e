// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/network.h"

#include <utility>

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
      layout_(std::move(parts.layout)),
      stages_(std::move(parts.stages)),
      all_slots_(Pointers(parts.slots)),
      slots_(std::move(parts.slots)) {}

Network::~Network() = default;

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

Result<void> Network::Start() {
  {
    MutexLock lock(mutex_);
    if (state_ == NetworkState::kRunning) return {};
    NRTD_TRY(Transit(NetworkState::kStarting));
  }
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
  return started;
}

Result<void> Network::Stop() {
  {
    MutexLock lock(mutex_);
    if (state_ == NetworkState::kStandby) return {};
    NRTD_TRY(Transit(NetworkState::kStopping));
  }
  auto idle = AwaitIdle();
  if (!idle) {
    FailAll(idle.error().text);
    return idle;
  }
  StopStages();
  MutexLock lock(mutex_);
  return Transit(NetworkState::kStandby);
}

Result<void> Network::Retire() {
  if (state() == NetworkState::kRunning) {
    // A stop that runs into its bound leaves the network Failed with its cores reset: it can go all
    // the same.
    if (auto stopped = Stop(); !stopped && state() != NetworkState::kFailed) return stopped;
  }
  {
    MutexLock lock(mutex_);
    NRTD_TRY(Transit(NetworkState::kUnloading));
  }
  const TimePoint deadline = machine_.clock().Now() + kDrainMargin;
  if (!slots_.AwaitAllFree(machine_.clock(), deadline)) {
    Log(LogLevel::kWarning, "NMGR:Unload",
        "model {}: {} inferences still hold their slots; freed when they let go", info_.id,
        slots_.in_use());
  }
  return {};
}

Result<Inference> Network::Begin() {
  {
    MutexLock lock(mutex_);
    if (state_ == NetworkState::kFailed) {
      return Fail(Nerr::kFailedState, "model {} failed: {}; unload it and load it again", info_.id,
                  failure_);
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

Result<void> Network::Submit(scheduler::Slot& slot, Completion completion) {
  MutexLock lock(mutex_);
  if (state_ != NetworkState::kRunning) {
    return Fail(state_ == NetworkState::kFailed ? Nerr::kFailedState : Nerr::kInvalid,
                "model {} became {} before the inference could start", info_.id,
                NetworkStateName(state_));
  }
  return slot.Submit(completion);
}

Result<void> Network::AwaitIdle() {
  const TimePoint deadline = machine_.clock().Now() +
                             info_.params.timeout * static_cast<int64_t>(all_slots_.size()) +
                             kDrainMargin;
  for (scheduler::Slot* slot : all_slots_) {
    if (!slot->Wait(deadline)) {
      return Fail(Nerr::kTimeout, "model {}: an inference did not end in time while stopping",
                  info_.id);
    }
  }
  return {};
}

void Network::FailAll(const std::string& reason) {
  {
    MutexLock lock(mutex_);
    if (state_ == NetworkState::kFailed) return;
    state_ = NetworkState::kFailed;
    failure_ = reason;
  }
  Log(LogLevel::kError, "NMGR:FailModel", "model {} ({}): {}", info_.id, info_.name, reason);
  for (const auto& stage : stages_) stage->channel().Reset(Nerr::kTimeout, reason);
  groups_.EndRunning(info_.group, info_.id);
}

void Network::StopStages() {
  for (const auto& stage : stages_) stage->Stop();
  groups_.EndRunning(info_.group, info_.id);
}

void Network::CountOutcome(const scheduler::InferenceOutcome& outcome) {
  done_.fetch_add(1, std::memory_order_relaxed);
  if (outcome.code != Nerr::kOk && outcome.code != Nerr::kInferCompletedWithNumErr) {
    failed_.fetch_add(1, std::memory_order_relaxed);
  }
}

Inference::Inference(Inference&& other) noexcept
    : network_(std::move(other.network_)),
      slot_(std::exchange(other.slot_, nullptr)),
      deadline_(other.deadline_) {}

Inference& Inference::operator=(Inference&& other) noexcept {
  if (this != &other) {
    Release();
    network_ = std::move(other.network_);
    slot_ = std::exchange(other.slot_, nullptr);
    deadline_ = other.deadline_;
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
  deadline_ = network_->machine_.clock().Now() + network_->info().params.timeout * ahead;
  return network_->Submit(*slot_, completion);
}

scheduler::InferenceOutcome Inference::Wait() {
  if (!slot_->Wait(deadline_)) {
    network_->FailAll(fmt::format(
        "an inference took longer than its timeout of {} s",
        std::chrono::duration_cast<std::chrono::seconds>(network_->info().params.timeout).count()));
    // The reset has ended it; if another thread is in the middle of that, it ends in a moment.
    slot_->Wait(TimePoint::max());
  }
  auto outcome = slot_->TakeOutcome();
  network_->CountOutcome(outcome);
  return outcome;
}

bool Inference::Done() {
  return slot_->Done();
}

}  // namespace nrtd::runtime
