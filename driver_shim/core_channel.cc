// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/core_channel.h"

#include <algorithm>
#include <system_error>
#include <utility>

namespace nrtd {
namespace {

// More than any network's ninfer (1,024 at most, runtime/model/limits.h).
constexpr uint32_t kExecutionRingCapacity = 2'048;
constexpr uint32_t kNotificationCapacity = 2'048;
// One runs and one is there when it ends; more would only be harder to take back.
constexpr int kMostInDevice = 2;

// `name`: what the instruction at fault does; empty if that is not known.
std::string Describe(const Notification& notification, CoreId core, const std::string& name) {
  const std::string_view engine = kCoreEngineNames[notification.engine % kCoreEngines];
  const std::string instruction = fmt::format("instruction {} of engine {}{}{}", notification.value,
                                              engine, name.empty() ? "" : ": ", name);
  switch (notification.code) {
    case NotificationCode::kNumerical:
      return fmt::format(
          "Error notifications found on NC {}:{}: INFER_ERROR_SUBTYPE_NUMERICAL, an output holds "
          "NaN",
          core.device, core.core);
    case NotificationCode::kDmaAddress:
      return fmt::format(
          "Error notifications found on NC {}:{}: a descriptor of DMA queue {} left mapped memory",
          core.device, core.core, notification.value);
    case NotificationCode::kDeadlock:
      return fmt::format(
          "Error notifications found on NC {}:{}: every engine waits for a semaphore", core.device,
          core.core);
    case NotificationCode::kBadProgram:
      return fmt::format("Error notifications found on NC {}:{}: {} failed", core.device, core.core,
                         instruction);
    case NotificationCode::kBadIndex:
      return fmt::format(
          "Error notifications found on NC {}:{}: index {} is outside of the table that is looked "
          "up ({})",
          core.device, core.core, notification.detail, instruction);
    case NotificationCode::kNoProgram:
      return fmt::format("Error notifications found on NC {}:{}: no program is active", core.device,
                         core.core);
    case NotificationCode::kNone:
      break;
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<CoreChannel>> CoreChannel::Create(Core& core, memory::HugePagePool& pool,
                                                         Clock& clock) {
  std::unique_ptr<CoreChannel> channel(new CoreChannel(core, pool, clock));
  MutexLock lock(channel->mutex_);
  NRTD_ASSIGN(DmaRing ring, DmaRing::Create(pool, kExecutionRingCapacity));
  channel->execution_ring_ = std::make_unique<DmaRing>(std::move(ring));
  NRTD_ASSIGN(NotificationQueue errors, NotificationQueue::Create(pool, kNotificationCapacity));
  channel->errors_ = std::make_unique<NotificationQueue>(std::move(errors));
  NRTD_ASSIGN(NotificationQueue completions,
              NotificationQueue::Create(pool, kNotificationCapacity));
  channel->completions_ = std::make_unique<NotificationQueue>(std::move(completions));
  NRTD_TRY(channel->AttachCommonRings());
  lock.Unlock();
  try {
    channel->thread_ = std::thread([raw = channel.get()] { raw->RunCompletionThread(); });
  } catch (const std::system_error& error) {
    return Fail(Nerr::kResource, "NC {}:{}: cannot start its thread: {}", core.id().device,
                core.id().core, error.what());
  }
  return channel;
}

CoreChannel::CoreChannel(Core& core, memory::HugePagePool& pool, Clock& clock)
    : core_(core), pool_(pool), clock_(clock) {}

CoreChannel::~CoreChannel() {
  {
    MutexLock lock(mutex_);
    stop_thread_ = true;
    thread_wake_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
  core_.Reset();
}

Result<void> CoreChannel::AttachCommonRings() {
  NRTD_TRY(core_.AttachRing(kExecutionQueue, execution_ring_->config()));
  NRTD_TRY(core_.AttachNotifications(NotificationKind::kError, errors_->config()));
  return core_.AttachNotifications(NotificationKind::kImplicit, completions_->config());
}

Result<void> CoreChannel::Start(ProgramRings& program, std::span<const uint32_t> ring_capacities) {
  std::vector<DmaRing> rings;
  for (uint32_t capacity : ring_capacities) {
    NRTD_ASSIGN(DmaRing ring, DmaRing::Create(pool_, capacity));
    rings.push_back(std::move(ring));
  }
  MutexLock lock(mutex_);
  if (program.started_) return Fail(Nerr::kInvalid, "the program is started already");
  AcquirePolling();
  program.rings_ = std::move(rings);
  // At once if the core is free, so that whoever starts it learns what is wrong with it.
  Result<void> started = active_ == nullptr ? Activate(program) : Result<void>();
  program.started_ = started.has_value();
  if (!started) program.rings_.clear();
  ReleasePolling();
  return started;
}

void CoreChannel::Stop(ProgramRings& program) {
  MutexLock lock(mutex_);
  AcquirePolling();
  if (active_ == &program) Deactivate();
  program.rings_.clear();
  program.started_ = false;
  ReleasePolling();
}

// The rings are empty: what was pushed for this program has ended.
Result<void> CoreChannel::Activate(ProgramRings& program) {
  if (active_ == &program) return {};
  if (active_ != nullptr) Deactivate();
  std::vector<QueueId> queues;
  Result<void> done;
  for (QueueId queue = 0; done && queue < program.rings_.size(); ++queue) {
    program.rings_[queue].Clear();
    done = core_.AttachRing(queue, program.rings_[queue].config());
    if (done) queues.push_back(queue);
  }
  if (done) done = core_.Activate(program.program_, queues);
  if (done) {
    active_ = &program;
  } else {
    for (QueueId queue : queues) core_.DetachRing(queue);
  }
  return done;
}

void CoreChannel::Deactivate() {
  core_.Deactivate();
  for (QueueId queue = 0; queue < active_->rings_.size(); ++queue) core_.DetachRing(queue);
  active_ = nullptr;
}

bool CoreChannel::Fits(const ProgramRings& program, std::span<const QueueWork> work) {
  return std::all_of(work.begin(), work.end(), [&](const QueueWork& queue) {
    return queue.queue < program.rings_.size() &&
           queue.descriptors.size() <= program.rings_[queue.queue].free_entries();
  });
}

// Of the active program, and it fits.
Result<void> CoreChannel::Push(Execution& execution) {
  const Descriptor run{.kind = DescriptorKind::kExecute, .tag = execution.tag_};
  NRTD_TRY(execution_ring_->Push({&run, 1}));
  for (const QueueWork& queue : execution.work_) {
    NRTD_TRY(active_->rings_[queue.queue].Push(queue.descriptors));
    core_.RingDoorbell(queue.queue, static_cast<uint32_t>(queue.descriptors.size()));
  }
  core_.RingDoorbell(kExecutionQueue, 1);
  execution.pushed_ = execution.in_device_ = true;
  return {};
}

bool CoreChannel::RoomInDevice() const {
  int there = 0;
  for (const Execution* execution = head_; execution != nullptr; execution = execution->next_)
    if (execution->in_device_ && ++there == kMostInDevice) return false;
  return true;
}

// When all that was pushed has ended, changes to the program of what comes next. Then gives the
// core of its executions what it may have.
void CoreChannel::PushQueued() {
  while (head_ != nullptr && !head_->pushed_) {
    Result<void> pushed = Activate(*head_->program_);
    if (pushed) pushed = Push(*head_);
    if (pushed) break;
    FinishHead(pushed.error().code, std::move(pushed.error().text), 0);
  }
  for (Execution* next = head_; next != nullptr && RoomInDevice(); next = next->next_) {
    if (next->pushed_) continue;
    if (next->program_ != active_ || !Fits(*active_, next->work_) || !Push(*next)) return;
  }
}

Result<void> CoreChannel::Submit(Execution& execution, ProgramRings& program,
                                 std::span<const QueueWork> work, Completion completion) {
  MutexLock lock(mutex_);
  if (!program.started_) return Fail(Nerr::kInvalid, "no program is started on this core");
  if (!Fits(program, work)) {
    return Fail(Nerr::kResource, "the DMA queues have no room for another execution");
  }
  execution.tag_ = next_tag_;
  execution.program_ = &program;
  execution.work_ = work;
  execution.pushed_ = execution.in_device_ = false;
  execution.waker_ = execution.observer_ = nullptr;
  execution.called_ = false;
  if (active_ == &program && (tail_ == nullptr || tail_->pushed_) && RoomInDevice())
    NRTD_TRY(Push(execution));
  ++next_tag_;
  execution.state_ = Execution::State::kQueued;
  execution.completion_ = completion;
  execution.next_ = nullptr;
  (tail_ != nullptr ? tail_->next_ : head_) = &execution;
  tail_ = &execution;
  stalled_ = false;
  HandOver();
  return {};
}

bool CoreChannel::Wait(Execution& execution, TimePoint deadline) {
  const PollLimit limit{&clock_, deadline};
  MutexLock lock(mutex_);
  ++execution.waiters_;
  while (execution.state_ != Execution::State::kDone) {
    if (MayPoll()) {
      AcquirePolling();
      PollOnce(limit);
      ReleasePolling();
      if (!MayPoll() || execution.state_ == Execution::State::kDone || !limit.Passed()) continue;
    }
    if (limit.Passed()) break;
    clock_.WaitUntil(execution.done_, mutex_, deadline);
  }
  --execution.waiters_;
  const bool done = execution.state_ == Execution::State::kDone;
  if (!done) HandOver();
  return done;
}

Attendance CoreChannel::Attend(Execution& execution, TimePoint deadline, Waker& waker) {
  const PollLimit limit{&clock_, deadline};
  MutexLock lock(mutex_);
  execution.waker_ = nullptr;
  execution.called_ = false;
  ++execution.waiters_;
  while (execution.state_ != Execution::State::kDone && MayPoll()) {
    AcquirePolling();
    PollOnce(limit);
    ReleasePolling();
    if (execution.state_ == Execution::State::kDone || !MayPoll() || !limit.Passed()) continue;
    --execution.waiters_;
    HandOver();
    return Attendance::kLate;
  }
  --execution.waiters_;
  if (execution.state_ == Execution::State::kDone) return Attendance::kDone;
  execution.waker_ = &waker;
  return Attendance::kParked;
}

void CoreChannel::Forget(Execution& execution) {
  MutexLock lock(mutex_);
  execution.waker_ = nullptr;
  execution.called_ = false;
  HandOver();  // it may have been the one to go on
}

bool CoreChannel::Observe(Execution& execution, Waker& observer) {
  MutexLock lock(mutex_);
  const bool in_flight = execution.state_ == Execution::State::kQueued;
  execution.observer_ = in_flight ? &observer : nullptr;
  return in_flight;
}

bool CoreChannel::Done(const Execution& execution) {
  MutexLock lock(mutex_);
  return execution.state_ == Execution::State::kDone;
}

void CoreChannel::Drive(Execution& execution) {
  MutexLock lock(mutex_);
  if (execution.state_ != Execution::State::kQueued) return;
  execution.completion_ = Completion::kInterrupt;
  HandOver();
}

bool CoreChannel::Cancel(Execution& execution, const std::string& reason) {
  MutexLock lock(mutex_);
  if (execution.state_ != Execution::State::kQueued || execution.pushed_) return false;
  Execution* before = nullptr;
  Execution* at = head_;
  while (at != nullptr && at != &execution) {
    before = at;
    at = at->next_;
  }
  if (at == nullptr) return false;  // it has ended, and its listener is being told
  (before != nullptr ? before->next_ : head_) = execution.next_;
  if (tail_ == &execution) tail_ = before;
  End(execution, Nerr::kInferCancelled, reason, 0);
  Announce();
  HandOver();  // its waiter may have been the one to go on
  return true;
}

void CoreChannel::Reset(Nerr code, const std::string& detail) {
  core_.Interrupt();
  MutexLock lock(mutex_);
  resetting_ = true;
  AcquirePolling();
  core_.Reset();
  resetting_ = false;
  // Of programs that are not active nothing is in the rings.
  if (active_ != nullptr) {
    for (DmaRing& ring : active_->rings_) ring.Clear();
  }
  active_ = nullptr;
  stalled_ = false;
  execution_ring_->Clear();
  errors_->Clear();
  completions_->Clear();
  // Cannot fail: these very rings were attached before, and the reset detached them.
  (void)AttachCommonRings();
  while (head_ != nullptr) FinishHead(code, detail, 0);
  Announce();
  ReleasePolling();
}

void CoreChannel::AcquirePolling() {
  while (polling_) polling_free_.Wait(mutex_);
  polling_ = true;
}

void CoreChannel::ReleasePolling() {
  polling_ = false;
  polling_free_.NotifyOne();
  HandOver();
}

// Sees to it that somebody goes on where there is work left: a thread that waits, or else the
// completion thread. An execution that nobody waits for may stand in front of one that has a
// waiter.
void CoreChannel::HandOver() {
  if (!MayPoll()) return;
  if (Execution* awaited = OldestAwaited()) {
    if (awaited->waiters_ > 0) {
      awaited->done_.NotifyOne();
    } else if (Waker* const waker = std::exchange(awaited->waker_, nullptr)) {
      awaited->called_ = true;
      waker->Wake();
    }
  } else if (ThreadHasWork()) {
    thread_wake_.NotifyOne();
  }
}

// Short: where several are in flight, the oldest usually is the one that has a waiter.
Execution* CoreChannel::OldestAwaited() const {
  Execution* execution = head_;
  while (execution != nullptr && execution->waiters_ == 0 && execution->waker_ == nullptr &&
         !execution->called_)
    execution = execution->next_;
  return execution;
}

void CoreChannel::PollOnce(const PollLimit& limit) {
  PushQueued();
  const uint64_t submitted = next_tag_;
  mutex_.Unlock();
  const Progress progress = core_.Poll(limit);
  mutex_.Lock();
  Collect();
  const bool waits = progress == Progress::kIdle || progress == Progress::kBlocked;
  const bool more = progress == Progress::kIdle && tail_ != nullptr && !tail_->pushed_;
  // It has nothing any more of what it had been given, whether or not its notifications have come:
  // those behind must not wait for them.
  while (more && head_->pushed_ && head_->tag_ < submitted) FinishLost();
  // The core may have looked before a submission that came in the meantime.
  if (waits && !more && next_tag_ == submitted) stalled_ = true;
  Announce();
}

void CoreChannel::Collect() {
  const CoreId id = core_.id();
  // An execution that the device skipped over has lost its notification.
  const auto reach = [&](uint64_t tag) NRTD_NO_THREAD_SAFETY_ANALYSIS {
    while (head_ != nullptr && head_->tag_ < tag) FinishLost();
    return head_ != nullptr && head_->tag_ == tag;
  };
  std::optional<Notification> numerical;
  while (auto error = errors_->Pop()) {
    if (error->code == NotificationCode::kNumerical) {
      numerical = error;
    } else if (reach(error->tag)) {
      FinishHead(Nerr::kInferCompletedWithErr, Describe(*error, id, NameOf(*error)),
                 error->device_time);
    }
  }
  while (auto done = completions_->Pop()) {
    if (!reach(done->tag)) continue;
    const bool nan = numerical && numerical->tag == done->tag;
    FinishHead(nan ? Nerr::kInferCompletedWithNumErr : Nerr::kOk,
               nan ? Describe(*numerical, id, {}) : std::string(), done->device_time);
  }
}

std::string CoreChannel::NameOf(const Notification& notification) const {
  const auto& name = head_->program_->name_;
  return name ? name(notification.engine, notification.value) : std::string();
}

void CoreChannel::FinishHead(Nerr code, std::string detail, uint64_t device_ns) {
  Execution* execution = head_;
  head_ = execution->next_;
  if (head_ == nullptr) tail_ = nullptr;
  End(*execution, code, std::move(detail), device_ns);
}

void CoreChannel::FinishLost() {
  const CoreId id = core_.id();
  FinishHead(Nerr::kHwError,
             fmt::format("NC {}:{} lost the notification of an execution", id.device, id.core), 0);
}

// It is not among those in flight any more.
void CoreChannel::End(Execution& execution, Nerr code, std::string detail, uint64_t device_ns) {
  execution.outcome_ = {code, std::move(detail), device_ns};
  execution.in_device_ = false;
  execution.next_ = nullptr;
  *ended_tail_ = &execution;
  ended_tail_ = &execution.next_;
}

void CoreChannel::Announce() {
  while (ended_ != nullptr) {
    Execution* execution = ended_;
    ended_ = execution->next_;
    if (ended_ == nullptr) ended_tail_ = &ended_;
    if (execution->listener_ != nullptr) {
      mutex_.Unlock();
      execution->listener_->OnExecutionDone(*execution);
      mutex_.Lock();
    }
    execution->state_ = Execution::State::kDone;
    execution->done_.NotifyAll();
    execution->called_ = false;
    // With the lock, or they may be gone.
    Waker* const waker = std::exchange(execution->waker_, nullptr);
    Waker* const observer = std::exchange(execution->observer_, nullptr);
    if (waker != nullptr) waker->Wake();
    if (observer != nullptr) observer->Wake();
  }
}

bool CoreChannel::ThreadHasWork() const {
  if (!MayPoll() || OldestAwaited() != nullptr) return false;
  for (const Execution* execution = head_; execution != nullptr; execution = execution->next_) {
    if (execution->completion_ == Completion::kInterrupt) return true;
  }
  return false;
}

void CoreChannel::RunCompletionThread() {
  MutexLock lock(mutex_);
  while (!stop_thread_) {
    if (ThreadHasWork()) {
      AcquirePolling();
      PollOnce({});
      ReleasePolling();
    } else {
      thread_wake_.Wait(mutex_);
    }
  }
}

}  // namespace nrtd
