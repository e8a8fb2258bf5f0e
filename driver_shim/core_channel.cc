// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/core_channel.h"

#include <utility>

namespace nrtd {
namespace {

// More than any network's ninfer (1,024 at most, runtime/model/limits.h).
constexpr uint32_t kExecutionRingCapacity = 2'048;
constexpr uint32_t kNotificationCapacity = 2'048;

std::string Describe(const Notification& notification, CoreId core) {
  static constexpr std::string_view kEngineNames[] = {"pe", "act", "pool"};
  const std::string_view engine = kEngineNames[notification.engine % std::size(kEngineNames)];
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
      return fmt::format(
          "Error notifications found on NC {}:{}: instruction {} of engine {} failed", core.device,
          core.core, notification.value, engine);
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
  channel->thread_ = std::thread([raw = channel.get()] { raw->RunCompletionThread(); });
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

Result<void> CoreChannel::Start(ProgramId program, std::span<const uint32_t> ring_capacities) {
  std::vector<DmaRing> rings;
  for (uint32_t capacity : ring_capacities) {
    NRTD_ASSIGN(DmaRing ring, DmaRing::Create(pool_, capacity));
    rings.push_back(std::move(ring));
  }
  MutexLock lock(mutex_);
  AcquirePolling();
  Result<void> started;
  if (started_) started = Fail(Nerr::kInvalid, "another program is started on this core");
  std::vector<QueueId> queues;
  for (QueueId queue = 0; started && queue < rings.size(); ++queue) {
    started = core_.AttachRing(queue, rings[queue].config());
    if (started) queues.push_back(queue);
  }
  if (started) started = core_.Activate(program, queues);
  if (started) {
    started_ = true;
    rings_ = std::move(rings);
  } else {
    for (QueueId queue : queues) core_.DetachRing(queue);
  }
  ReleasePolling();
  return started;
}

void CoreChannel::Stop() {
  MutexLock lock(mutex_);
  AcquirePolling();
  if (started_) {
    core_.Deactivate();
    for (QueueId queue = 0; queue < rings_.size(); ++queue) core_.DetachRing(queue);
    rings_.clear();
    started_ = false;
  }
  ReleasePolling();
}

Result<void> CoreChannel::Submit(Execution& execution, std::span<const QueueWork> work,
                                 Completion completion) {
  MutexLock lock(mutex_);
  if (!started_) return Fail(Nerr::kInvalid, "no program is started on this core");
  for (const QueueWork& queue : work) {
    if (queue.queue >= rings_.size() ||
        rings_[queue.queue].free_entries() < queue.descriptors.size()) {
      return Fail(Nerr::kResource, "DMA queue {} has no room for {} descriptors", queue.queue,
                  queue.descriptors.size());
    }
  }
  const Descriptor run{.kind = DescriptorKind::kExecute, .tag = next_tag_};
  NRTD_TRY(execution_ring_->Push({&run, 1}));
  for (const QueueWork& queue : work) {
    NRTD_TRY(rings_[queue.queue].Push(queue.descriptors));
    core_.RingDoorbell(queue.queue, static_cast<uint32_t>(queue.descriptors.size()));
  }
  execution.tag_ = next_tag_++;
  execution.state_ = Execution::State::kQueued;
  execution.completion_ = completion;
  execution.next_ = nullptr;
  (tail_ != nullptr ? tail_->next_ : head_) = &execution;
  tail_ = &execution;
  stalled_ = false;
  core_.RingDoorbell(kExecutionQueue, 1);
  HandOver();
  return {};
}

bool CoreChannel::Wait(Execution& execution, TimePoint deadline) {
  MutexLock lock(mutex_);
  ++execution.waiters_;
  while (execution.state_ != Execution::State::kDone) {
    if (!polling_ && !stalled_) {
      AcquirePolling();
      PollOnce();
      ReleasePolling();
      continue;
    }
    if (clock_.Now() >= deadline) break;
    clock_.WaitUntil(execution.done_, mutex_, deadline);
  }
  --execution.waiters_;
  return execution.state_ == Execution::State::kDone;
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

void CoreChannel::Reset(Nerr code, const std::string& detail) {
  MutexLock lock(mutex_);
  AcquirePolling();
  core_.Reset();
  rings_.clear();
  started_ = false;
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
  if (polling_ || stalled_) return;
  if (Execution* awaited = OldestAwaited()) {
    awaited->done_.NotifyOne();
  } else if (ThreadHasWork()) {
    thread_wake_.NotifyOne();
  }
}

// Short: where several are in flight, the oldest usually is the one that has a waiter.
Execution* CoreChannel::OldestAwaited() const {
  Execution* execution = head_;
  while (execution != nullptr && execution->waiters_ == 0) execution = execution->next_;
  return execution;
}

void CoreChannel::PollOnce() {
  const uint64_t submitted = next_tag_;
  mutex_.Unlock();
  const Progress progress = core_.Poll();
  mutex_.Lock();
  Collect();
  // The core may have looked before a submission that came in the meantime.
  if (progress != Progress::kAdvanced && next_tag_ == submitted) stalled_ = true;
  Announce();
}

void CoreChannel::Collect() {
  const CoreId id = core_.id();
  // An execution that the device skipped over has lost its notification.
  const auto reach = [&](uint64_t tag) NRTD_NO_THREAD_SAFETY_ANALYSIS {
    while (head_ != nullptr && head_->tag_ < tag) {
      FinishHead(Nerr::kHwError,
                 fmt::format("NC {}:{} lost the notification of an execution", id.device, id.core),
                 0);
    }
    return head_ != nullptr && head_->tag_ == tag;
  };
  std::optional<Notification> numerical;
  while (auto error = errors_->Pop()) {
    if (error->code == NotificationCode::kNumerical) {
      numerical = error;
    } else if (reach(error->tag)) {
      FinishHead(Nerr::kInferCompletedWithErr, Describe(*error, id), error->device_time);
    }
  }
  while (auto done = completions_->Pop()) {
    if (!reach(done->tag)) continue;
    const bool nan = numerical && numerical->tag == done->tag;
    FinishHead(nan ? Nerr::kInferCompletedWithNumErr : Nerr::kOk,
               nan ? Describe(*numerical, id) : std::string(), done->device_time);
  }
}

void CoreChannel::FinishHead(Nerr code, std::string detail, uint64_t device_ns) {
  Execution* execution = head_;
  head_ = execution->next_;
  if (head_ == nullptr) tail_ = nullptr;
  execution->outcome_ = {code, std::move(detail), device_ns};
  execution->next_ = nullptr;
  *ended_tail_ = execution;
  ended_tail_ = &execution->next_;
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
  }
}

bool CoreChannel::ThreadHasWork() const {
  if (polling_ || stalled_ || OldestAwaited() != nullptr) return false;
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
      PollOnce();
      ReleasePolling();
    } else {
      thread_wake_.Wait(mutex_);
    }
  }
}

}  // namespace nrtd
