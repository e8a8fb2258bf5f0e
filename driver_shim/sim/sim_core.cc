// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/sim_core.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>
#include <utility>

#include "base/sizes.h"

namespace nrtd::sim {
namespace {

// Bytes that are moved, or elements that are looked at, between two looks at the interrupt and the
// limit: less than 1 ms, also where each page must be faulted in first.
constexpr uint32_t kLookBytes = 1U << 20;
// What a descriptor or a control instruction counts for: some 100 ns.
constexpr uint64_t kStepBytes = 512;
constexpr uint64_t kSkippedAtOnce = kLookBytes / kStepBytes;

uint64_t NowNs() {
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch() /
                               std::chrono::nanoseconds(1));
}

void Count(std::atomic<uint64_t>& counter, uint64_t by) {
  counter.fetch_add(by, std::memory_order_relaxed);
}

uint64_t Read(const std::atomic<uint64_t>& counter) {
  return counter.load(std::memory_order_relaxed);
}

}  // namespace

SimCore::SimCore(CoreId id, const AddressSpace& space, WeightCache& weights, ComputeTurns& turns,
                 const SimSpeed& speed)
    : id_(id),
      space_(space),
      weights_(weights),
      turns_(turns),
      team_(speed.threads),
      paced_(speed.paced) {
  for (auto& queue : queues_) queue = std::make_unique<DmaQueue>(space, id.device);
}

SimCore::~SimCore() = default;

Result<ProgramId> SimCore::LoadProgram(const ProgramImage& image) {
  NRTD_ASSIGN(auto program, PrepareProgram(image, space_, weights_, team_));
  MutexLock lock(programs_mutex_);
  const ProgramId id = next_program_++;
  programs_.emplace(id, std::move(program));
  return id;
}

void SimCore::UnloadProgram(ProgramId program) {
  std::unique_ptr<PreparedProgram> doomed;  // freed without the lock: that may take a while
  MutexLock lock(programs_mutex_);
  if (auto node = programs_.extract(program)) doomed = std::move(node.mapped());
}

std::vector<uint32_t> SimCore::TakenOver(ProgramId program) const {
  MutexLock lock(programs_mutex_);
  const auto found = programs_.find(program);
  return found != programs_.end() ? found->second->taken_over : std::vector<uint32_t>{};
}

uint64_t SimCore::PreparedBytes(ProgramId program) const {
  MutexLock lock(programs_mutex_);
  const auto found = programs_.find(program);
  return found != programs_.end() ? found->second->bytes() : 0;
}

Result<void> SimCore::Activate(ProgramId program, std::span<const QueueId> queues) {
  MutexLock lock(programs_mutex_);
  const auto found = programs_.find(program);
  if (found == programs_.end()) return Fail(Nerr::kInvalid, "program {} is not loaded", program);
  const size_t needed = found->second->descriptors.size();
  if (queues.size() != needed) {
    return Fail(Nerr::kInvalid, "program {} needs {} queues, got {}", program, needed,
                queues.size());
  }
  for (QueueId queue : queues) {
    if (queue >= kDmaQueues || !queues_[queue]->attached()) {
      return Fail(Nerr::kInvalid, "queue {} has no ring", queue);
    }
  }
  active_ = found->second.get();
  queue_map_.assign(queues.begin(), queues.end());
  return {};
}

void SimCore::Deactivate() {
  active_ = nullptr;
  queue_map_.clear();
}

Result<void> SimCore::AttachRing(QueueId queue, const RingConfig& ring) {
  if (queue >= kQueues)
    return Fail(Nerr::kInvalid, "queue {} does not exist, a core has {}", queue, kQueues);
  return queues_[queue]->Attach(ring);
}

void SimCore::DetachRing(QueueId queue) {
  if (queue < kQueues) queues_[queue]->Detach();
}

Result<void> SimCore::AttachNotifications(NotificationKind kind, const RingConfig& ring) {
  const AddressSpace::Access access(space_);
  if (!IsPowerOfTwo(ring.capacity) ||
      access.Translate(id_.device, ring.entries, ring.capacity * sizeof(Notification),
                       Use::kWrite) == nullptr) {
    return Fail(Nerr::kInvalid,
                "notification queue at {:#x} is not a power of two in mapped memory", ring.entries);
  }
  notifications_[static_cast<size_t>(kind)] = NotificationRing{ring, 0};
  return {};
}

void SimCore::RingDoorbell(QueueId queue, uint32_t count) {
  if (queue < kQueues) queues_[queue]->Doorbell(count);
}

Progress SimCore::Poll(const PollLimit& limit) {
  if (faults_.hang.load(std::memory_order_relaxed)) {
    return execution_ || queues_[kExecutionQueue]->HasAvailable() ? Progress::kBlocked
                                                                  : Progress::kIdle;
  }
  if (interrupted_.load(std::memory_order_relaxed)) return Progress::kYielded;
  UseOneThread();
  const ZeroDenormals zeros;
  if (!execution_ && !Begin()) return Progress::kIdle;
  const uint64_t start = NowNs();
  execution_->clock_ns = start;
  waited_ns_ = 0;
  turn_ends_ns_ = start + free_time_.At(start);
  if (turn_ends_ns_ == start && !HasTurn(start, limit)) {
    needed_turn_ = false;
    return Progress::kYielded;
  }
  const Progress progress = active_ != nullptr ? Advance(limit) : Progress::kAdvanced;
  team_.Rest();
  const uint64_t now = NowNs();
  EndTurn(now, start);
  uint64_t worked = now - start - waited_ns_;
  // The chip would have been busy for the whole pace, even while this core was not being polled.
  if (paced_ && progress == Progress::kAdvanced && active_ != nullptr && !HasFailed())
    worked = std::max(worked, active_->pace_ns - std::min(active_->pace_ns, execution_->worked_ns));
  Count(busy_ns_, worked);
  execution_->worked_ns += worked;
  if (active_ == nullptr) fault_ = {NotificationCode::kNoProgram, Engine::kPe, 0, 0};
  if (progress == Progress::kAdvanced) Finish();
  return progress;
}

bool SimCore::Begin() {
  const auto descriptor = queues_[kExecutionQueue]->Take();
  if (!descriptor) return false;
  execution_ = Execution{};
  execution_->tag = descriptor->tag;
  if (paced_ && active_ != nullptr) execution_->due_ns = NowNs() + active_->pace_ns;
  fault_ = {};
  for (auto& semaphore : semaphores_) semaphore.store(0, std::memory_order_relaxed);
  for (size_t q = 0; q < queue_map_.size(); ++q) {
    dma_end_[q] = queues_[queue_map_[q]]->consumed() + active_->descriptors[q];
  }
  return true;
}

void SimCore::Interrupt() {
  interrupted_.store(true, std::memory_order_relaxed);
  turns_.Wake(place_);
}

bool SimCore::IsStopped(const PollLimit& limit) const {
  return interrupted_.load(std::memory_order_relaxed) || limit.Passed();
}

bool SimCore::ShouldYield(const PollLimit& limit, uint64_t now) {
  return IsStopped(limit) || !HasTurn(now, limit);
}

// Waits for a turn when this one's time is over. False: the limit passed, or it was interrupted.
bool SimCore::HasTurn(uint64_t now, const PollLimit& limit) {
  if (now < turn_ends_ns_) return true;
  team_.Rest();
  const bool has_turn = place_.has_turn()
                            ? turns_.Renew(place_, now - turn_began_ns_, limit, interrupted_)
                            : turns_.Take(place_, limit, interrupted_);
  needed_turn_ = true;
  turn_began_ns_ = NowNs();
  turn_ends_ns_ = turn_began_ns_ + ComputeTurns::kTurnNs;
  waited_ns_ += turn_began_ns_ - now;
  execution_->clock_ns += turn_began_ns_ - now;
  return has_turn;
}

// At the end of a Poll() that began at `start`.
void SimCore::EndTurn(uint64_t now, uint64_t start) {
  if (place_.has_turn()) turns_.GiveBack(place_, now - turn_began_ns_);
  // None comes back for the time in which turns were needed.
  if (needed_turn_) (void)free_time_.At(now);
  free_time_.Use(needed_turn_ ? FreeTime::kMostNs : now - start);
  needed_turn_ = false;
}

bool SimCore::ShouldYieldAfter(uint64_t work, const PollLimit& limit) {
  unlooked_ += work;
  if (unlooked_ < kLookBytes) return false;
  unlooked_ = 0;
  return ShouldYield(limit, NowNs());
}

Progress SimCore::Advance(const PollLimit& limit) {
  unlooked_ = 0;
  while (true) {
    Progress progress = Progress::kAdvanced;
    switch (execution_->phase) {
      case Phase::kStreams:
        progress = RunStreams(limit);
        break;
      case Phase::kOutputs:
        progress = CheckOutputs(limit);
        break;
      case Phase::kPace:
        if (paced_) progress = AwaitPace(limit);
        break;
      case Phase::kSkip:
        if (HasFailed()) progress = SkipDescriptors(limit);
        break;
      case Phase::kDone:
        return Progress::kAdvanced;
    }
    if (progress != Progress::kAdvanced) return progress;
    execution_->phase = execution_->phase == Phase::kStreams && HasFailed()
                            ? Phase::kSkip
                            : static_cast<Phase>(static_cast<uint8_t>(execution_->phase) + 1);
  }
}

// In short sleeps, so that an interrupt or the limit is noticed soon.
Progress SimCore::AwaitPace(const PollLimit& limit) {
  constexpr uint64_t kLongestSleepNs = 200'000;
  team_.Rest();
  if (place_.has_turn()) turns_.GiveBack(place_, NowNs() - turn_began_ns_);
  for (uint64_t now = NowNs(); now < execution_->due_ns; now = NowNs()) {
    if (IsStopped(limit)) return Progress::kYielded;
    std::this_thread::sleep_for(
        std::chrono::nanoseconds(std::min(execution_->due_ns - now, kLongestSleepNs)));
  }
  return Progress::kAdvanced;
}

// A failed execution leaves descriptors; the next one must not find them before its own.
Progress SimCore::SkipDescriptors(const PollLimit& limit) {
  size_t& at = execution_->at;
  while (at < queue_map_.size()) {
    if (queues_[queue_map_[at]]->SkipTo(dma_end_[at], kSkippedAtOnce)) {
      ++at;
    } else if (ShouldYield(limit, NowNs())) {
      return Progress::kYielded;
    }
  }
  return Progress::kAdvanced;
}

// The engines take turns, and DMA has one after them. An engine whose turn was cut short continues
// in the next Poll(), so that an execution does the same in the same order however often it yields.
Progress SimCore::RunStreams(const PollLimit& limit) {
  Execution& run = *execution_;
  while (true) {
    for (; run.turn < kEngines; ++run.turn) {
      const Turn turn = RunEngine(static_cast<Engine>(run.turn), limit);
      if (turn == Turn::kFailed) return Progress::kAdvanced;
      if (turn == Turn::kYielded) return Progress::kYielded;
    }
    const Turn dma = RunDma(limit);
    if (dma == Turn::kFailed) return Progress::kAdvanced;
    if (dma == Turn::kYielded) return Progress::kYielded;
    run.turn = 0;
    if (HasEnded(0) && HasEnded(1) && HasEnded(2)) return Progress::kAdvanced;
    if (std::exchange(run.advanced, false)) continue;
    if (AwaitsDescriptors()) return Progress::kBlocked;
    fault_ = {NotificationCode::kDeadlock, Engine::kPe, static_cast<uint32_t>(run.next[0]), 0};
    return Progress::kAdvanced;
  }
}

bool SimCore::HasEnded(size_t engine) const {
  return active_->streams[engine][execution_->next[engine]].opcode == Opcode::kEnd;
}

SimCore::Turn SimCore::RunEngine(Engine engine, const PollLimit& limit) {
  const auto& stream = active_->streams[static_cast<size_t>(engine)];
  size_t& next = execution_->next[static_cast<size_t>(engine)];
  EngineTotals& totals = totals_[static_cast<size_t>(engine)];
  if (execution_->moving) {
    if (const Turn dma = RunDma(limit); dma != Turn::kEnded) return dma;
  }
  while (true) {
    const Step& step = stream[next];
    if (step.opcode == Opcode::kEnd) return Turn::kEnded;
    if (step.opcode == Opcode::kSemaphoreWait &&
        semaphores_[step.semaphore].load(std::memory_order_relaxed) < step.value) {
      return Turn::kBlocked;
    }
    execution_->advanced = true;
    if (step.kernel != nullptr) {
      const Turn turn = RunKernel(engine, step, limit);
      if (turn == Turn::kFailed) {
        const std::optional<int64_t> index = step.kernel->bad_index();
        fault_ = {index ? NotificationCode::kBadIndex : NotificationCode::kBadProgram, engine,
                  static_cast<uint32_t>(next), index.value_or(0)};
      }
      if (execution_->piece != 0 || turn == Turn::kFailed) return turn;
      Count(totals.instructions, 1);
      ++next;
      if (turn != Turn::kEnded) return turn;
    } else {
      Count(totals.instructions, 1);
      ++next;
      if (const Turn turn = RunStep(engine, step, limit); turn != Turn::kEnded) return turn;
    }
  }
}

// kYielded: in the middle of the instruction if execution_->piece is not 0, otherwise after it.
// Other instructions may not run in between: they use the same memory.
SimCore::Turn SimCore::RunKernel(Engine engine, const Step& step, const PollLimit& limit) {
  uint64_t& piece = execution_->piece;
  const uint64_t pieces = step.kernel->pieces();
  bool yields = false;
  while (!yields) {
    active_->bases = step.bases;
    if (!step.kernel->RunPiece(piece)) return Turn::kFailed;
    if (++piece == pieces) {
      piece = 0;
      break;
    }
    yields = ShouldYield(limit, NowNs());
  }
  // One reading of the clock an instruction: what lay between counts for the one that follows it.
  const uint64_t now = NowNs();
  const uint64_t elapsed = now - execution_->clock_ns;
  execution_->clock_ns = now;
  // While one engine works, the two others wait for it or stand idle behind their End.
  for (size_t e = 0; e < kEngines; ++e) {
    if (e == static_cast<size_t>(engine)) {
      Count(totals_[e].busy_ns, elapsed);
    } else if (active_->streams[e][execution_->next[e]].opcode == Opcode::kSemaphoreWait) {
      Count(totals_[e].wait_ns, elapsed);
    }
  }
  if (piece == 0) {
    Count(totals_[static_cast<size_t>(engine)].tensor_instructions, 1);
    Count(macs_, step.macs);
  }
  return yields || ShouldYield(limit, now) ? Turn::kYielded : Turn::kEnded;
}

// kEnded: the step is done. kYielded: it is done too, or it goes on by itself (`moving`).
SimCore::Turn SimCore::RunStep(Engine engine, const Step& step, const PollLimit& limit) {
  const auto done = [&] {
    return ShouldYieldAfter(kStepBytes, limit) ? Turn::kYielded : Turn::kEnded;
  };
  switch (step.opcode) {
    case Opcode::kSemaphoreWait:
      return done();
    case Opcode::kSemaphoreSignal:
      semaphores_[step.semaphore].fetch_add(1, std::memory_order_relaxed);
      return done();
    case Opcode::kNotify:
      WriteNotification({.kind = NotificationKind::kExplicit,
                         .engine = static_cast<uint32_t>(engine),
                         .value = step.value,
                         .tag = execution_->tag});
      return done();
    case Opcode::kDmaTrigger: {
      const PreparedTrigger& trigger = active_->triggers[step.value];
      queues_[queue_map_[trigger.queue]]->Release(trigger.descriptors);
      const Turn dma = RunDma(limit);
      return dma == Turn::kEnded ? done() : dma;
    }
    default:
      break;
  }
  return Turn::kEnded;
}

// kEnded: nothing that was released and announced is left.
SimCore::Turn SimCore::RunDma(const PollLimit& limit) {
  execution_->moving = true;
  for (QueueId id : queue_map_) {
    DmaQueue& queue = *queues_[id];
    while (auto outcome = queue.Step(kLookBytes)) {
      if (!outcome->ok) {
        fault_ = {NotificationCode::kDmaAddress, Engine::kPool, id, 0};
        return Turn::kFailed;
      }
      execution_->advanced = true;
      Count(dma_bytes_, outcome->bytes);
      const uint8_t semaphore = outcome->descriptor.semaphore;
      if (outcome->whole && semaphore < kSemaphores)
        semaphores_[semaphore].fetch_add(1, std::memory_order_relaxed);
      if (ShouldYieldAfter(outcome->bytes + kStepBytes, limit)) return Turn::kYielded;
    }
  }
  execution_->moving = false;
  return Turn::kEnded;
}

bool SimCore::AwaitsDescriptors() const {
  for (QueueId id : queue_map_) {
    if (queues_[id]->Starved()) return true;
  }
  return false;
}

Progress SimCore::CheckOutputs(const PollLimit& limit) {
  constexpr uint64_t kAtOnce = kLookBytes / sizeof(float);
  Execution& run = *execution_;
  for (; run.at < active_->outputs.size(); ++run.at, run.element = 0) {
    const OutputRange& output = active_->outputs[run.at];
    while (run.element < output.count) {
      const uint64_t end = std::min(output.count, run.element + kAtOnce);
      // NaN is the only value that is not equal to itself; a sum keeps the loop free of branches.
      uint64_t nans = 0;
      for (uint64_t i = run.element; i < end; ++i) nans += output.data[i] != output.data[i] ? 1 : 0;
      if (nans != 0) fault_ = {NotificationCode::kNumerical, Engine::kPool, 0, 0};
      const uint64_t bytes = (end - run.element) * sizeof(float);
      run.element = end;
      if (ShouldYieldAfter(bytes, limit)) return Progress::kYielded;
    }
  }
  run.at = 0;
  return Progress::kAdvanced;
}

bool SimCore::HasFailed() const {
  return fault_.code != NotificationCode::kNone && fault_.code != NotificationCode::kNumerical;
}

void SimCore::Finish() {
  const bool failed = HasFailed();
  Notification notification;
  notification.code = fault_.code;
  notification.engine = static_cast<uint32_t>(fault_.engine);
  notification.value = fault_.step;
  notification.detail = fault_.detail;
  notification.tag = execution_->tag;
  notification.device_time = execution_->worked_ns;
  queues_[kExecutionQueue]->Complete(!failed);
  Count(executions_, 1);
  execution_.reset();
  if (faults_.lose_notifications.load(std::memory_order_relaxed) > 0) {
    faults_.lose_notifications.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  if (fault_.code != NotificationCode::kNone) {
    notification.kind = NotificationKind::kError;
    WriteNotification(notification);
  }
  if (!failed) {
    notification.kind = NotificationKind::kImplicit;
    WriteNotification(notification);
  }
}

void SimCore::WriteNotification(Notification notification) {
  auto& target = notifications_[static_cast<size_t>(notification.kind)];
  if (!target) return;
  const AddressSpace::Access access(space_);
  const uint64_t index = target->written & (target->ring.capacity - 1);
  std::byte* entry =
      access.Translate(id_.device, target->ring.entries + index * sizeof(Notification),
                       sizeof(Notification), Use::kWrite);
  if (entry == nullptr) return;
  const auto phase = static_cast<uint32_t>(target->written / target->ring.capacity) + 1;
  ++target->written;
  std::memcpy(entry + sizeof(phase),
              reinterpret_cast<const std::byte*>(&notification) + sizeof(phase),
              sizeof(Notification) - sizeof(phase));
  std::atomic_ref<uint32_t>(*reinterpret_cast<uint32_t*>(entry))
      .store(phase, std::memory_order_release);
}

uint32_t SimCore::ReadSemaphore(uint32_t index) const {
  return index < kSemaphores ? semaphores_[index].load(std::memory_order_relaxed) : 0;
}

void SimCore::Reset() {
  execution_.reset();
  Deactivate();
  for (auto& queue : queues_) queue->Detach();
  for (auto& ring : notifications_) ring.reset();
  for (auto& semaphore : semaphores_) semaphore.store(0, std::memory_order_relaxed);
  faults_.hang.store(false, std::memory_order_relaxed);
  interrupted_.store(false, std::memory_order_relaxed);
}

CoreCounters SimCore::counters() const {
  CoreCounters counters;
  for (size_t e = 0; e < kEngines; ++e) {
    // The simulated clock ticks once a nanosecond (kCoreClockHz).
    counters.engine[e] = {Read(totals_[e].instructions), Read(totals_[e].tensor_instructions),
                          Read(totals_[e].busy_ns), Read(totals_[e].wait_ns)};
  }
  counters.macs = Read(macs_);
  counters.busy_ns = Read(busy_ns_);
  counters.executions = Read(executions_);
  counters.dma_bytes = Read(dma_bytes_);
  return counters;
}

}  // namespace nrtd::sim
