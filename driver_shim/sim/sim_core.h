// SPDX-License-Identifier: Apache-2.0
//
// A simulated NeuronCore. Poll() runs the three engine streams on the caller's thread, switching to
// the next stream when one blocks on a semaphore, so an execution is deterministic and a test can
// step it. Large instructions are shared with the core's helper threads, if it has any.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <unordered_map>

#include "base/mutex.h"
#include "driver_shim/core.h"
#include "driver_shim/sim/address_space.h"
#include "driver_shim/sim/compute_turns.h"
#include "driver_shim/sim/dma_queue.h"
#include "driver_shim/sim/faults.h"
#include "driver_shim/sim/prepared_program.h"
#include "driver_shim/sim/thread_team.h"

namespace nrtd::sim {

struct SimSpeed {
  // A core computes on: the one that polls it and helpers, which are started when first needed.
  unsigned threads = 1;
  // An execution takes as long as it would on a real Inferentia at best (pace.h), if it is not
  // longer anyway; whoever polls sleeps for the rest of it.
  bool paced = false;
};

class SimCore final : public Core {
 public:
  // `space`, `weights` and `turns` outlive the core.
  SimCore(CoreId id, const AddressSpace& space, WeightCache& weights, ComputeTurns& turns,
          const SimSpeed& speed = {});
  ~SimCore() override;

  CoreId id() const override { return id_; }
  Result<ProgramId> LoadProgram(const ProgramImage& image) override;
  std::vector<uint32_t> TakenOver(ProgramId program) const override;
  uint64_t PreparedBytes(ProgramId program) const override;
  void UnloadProgram(ProgramId program) override;
  Result<void> Activate(ProgramId program, std::span<const QueueId> queues) override;
  void Deactivate() override;
  Result<void> AttachRing(QueueId queue, const RingConfig& ring) override;
  void DetachRing(QueueId queue) override;
  Result<void> AttachNotifications(NotificationKind kind, const RingConfig& ring) override;
  void RingDoorbell(QueueId queue, uint32_t count) override;
  using Core::Poll;
  Progress Poll(const PollLimit& limit) override;
  void Interrupt() override;
  uint32_t ReadSemaphore(uint32_t index) const override;
  void Reset() override;
  CoreCounters counters() const override;

  Faults& faults() { return faults_; }

 private:
  // An execution goes through these in order.
  enum class Phase : uint8_t {
    kStreams,  // runs instructions and moves descriptors; a failed one continues with kSkip
    kOutputs,  // looks for NaN in the outputs
    kPace,     // waits for the time that a real Inferentia would take
    kSkip,     // discards the descriptors that a failed execution left
    kDone,
  };
  // The execution in progress. Everything in it can be continued by the next Poll().
  struct Execution {
    uint64_t tag = 0;
    Phase phase = Phase::kStreams;
    std::array<size_t, kEngines> next{};  // index of each stream's next step
    size_t turn = 0;                      // the engine that runs; kEngines: DMA
    bool advanced = false;                // something was done since the first engine's turn began
    bool moving = false;                  // descriptors that were released are being moved
    uint64_t piece = 0;                   // of the instruction that runs
    size_t at = 0;                        // kOutputs: the output; kSkip: the queue
    uint64_t element = 0;                 // kOutputs: the next element of it
    uint64_t worked_ns = 0;
    uint64_t clock_ns = 0;  // the last reading
    uint64_t due_ns = 0;    // does not end before
  };
  // How an engine's turn ended.
  enum class Turn { kEnded, kBlocked, kYielded, kFailed };
  struct Fault {
    NotificationCode code = NotificationCode::kNone;
    Engine engine = Engine::kPe;
    uint32_t step = 0;
    int64_t detail = 0;
  };
  struct NotificationRing {
    RingConfig ring;
    uint64_t written = 0;
  };
  struct EngineTotals {
    std::atomic<uint64_t> instructions{0};
    std::atomic<uint64_t> tensor_instructions{0};
    std::atomic<uint64_t> busy_ns{0};
    std::atomic<uint64_t> wait_ns{0};
  };

  bool Begin();
  Progress Advance(const PollLimit& limit);
  Progress RunStreams(const PollLimit& limit);
  Progress CheckOutputs(const PollLimit& limit);
  Progress AwaitPace(const PollLimit& limit);
  Progress SkipDescriptors(const PollLimit& limit);
  Turn RunEngine(Engine engine, const PollLimit& limit);
  Turn RunStep(Engine engine, const Step& step, const PollLimit& limit);
  Turn RunKernel(Engine engine, const Step& step, const PollLimit& limit);
  Turn RunDma(const PollLimit& limit);
  bool HasEnded(size_t engine) const;
  bool AwaitsDescriptors() const;
  bool HasFailed() const;
  void Finish();
  void WriteNotification(Notification notification);
  bool IsStopped(const PollLimit& limit) const;
  bool ShouldYield(const PollLimit& limit, uint64_t now);
  bool HasTurn(uint64_t now, const PollLimit& limit);
  void EndTurn(uint64_t now, uint64_t start);
  bool ShouldYieldAfter(uint64_t work, const PollLimit& limit);

  const CoreId id_;
  const AddressSpace& space_;
  WeightCache& weights_;
  ComputeTurns& turns_;
  ComputeTurns::Place place_;
  FreeTime free_time_;
  bool needed_turn_ = false;  // in this Poll()
  uint64_t turn_began_ns_ = 0;
  uint64_t turn_ends_ns_ = 0;  // until then the execution in progress goes on without asking
  uint64_t waited_ns_ = 0;     // for turns, in this Poll()
  ThreadTeam team_;
  const bool paced_;
  Faults faults_;

  mutable Mutex programs_mutex_;
  std::unordered_map<ProgramId, std::unique_ptr<PreparedProgram>> programs_
      NRTD_GUARDED_BY(programs_mutex_);
  ProgramId next_program_ NRTD_GUARDED_BY(programs_mutex_) = 1;
  PreparedProgram* active_ = nullptr;
  std::array<std::unique_ptr<DmaQueue>, kQueues> queues_;
  std::vector<QueueId> queue_map_;  // of the active program
  std::array<uint64_t, kDmaQueues>
      dma_end_{};  // where each of its queues stands after the execution in progress
  std::array<std::optional<NotificationRing>, kNotificationKinds> notifications_;
  std::optional<Execution> execution_;
  uint64_t unlooked_ = 0;  // work done since ShouldYield(), in bytes
  Fault fault_;
  std::atomic<bool> interrupted_{false};
  std::array<std::atomic<uint32_t>, kSemaphores> semaphores_{};

  std::array<EngineTotals, kEngines> totals_;
  std::atomic<uint64_t> macs_{0};
  std::atomic<uint64_t> busy_ns_{0};
  std::atomic<uint64_t> executions_{0};
  std::atomic<uint64_t> dma_bytes_{0};
};

}  // namespace nrtd::sim
