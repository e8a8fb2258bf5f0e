// SPDX-License-Identifier: Apache-2.0
//
// A loaded network: its subgraphs on their cores, its slots, its state. And one inference on it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/mutex.h"
#include "neff/neff.h"
#include "runtime/host/host_node.h"
#include "runtime/ledger/load_charges.h"
#include "runtime/machine.h"
#include "runtime/model/network_state.h"
#include "runtime/model/placed_subgraph.h"
#include "runtime/model/tensor_layout.h"
#include "runtime/watchdog.h"
#include "scheduler/group_table.h"
#include "scheduler/slot_pool.h"

namespace nrtd::runtime {

using scheduler::GroupId;
using scheduler::kAnyProcess;
using scheduler::MayUse;
using scheduler::NetworkId;
using scheduler::Owner;
using scheduler::ProcessKey;
using scheduler::SessionId;

struct NetworkParams {
  Duration timeout{};   // of one inference
  uint32_t ninfer = 0;  // slots
};

// What a network is, fixed when it is loaded.
struct NetworkInfo {
  NetworkId id = 0;
  std::string name;
  std::string uuid;
  GroupId group = 0;
  Owner owner;
  NetworkParams params;
  uint64_t neff_bytes = 0;
};

class Inference;

// What goes on with the result, on the caller's thread at once or later on one of the machine's
// workers. Must not block.
using Then = std::function<void(Result<void>)>;

// About what it takes to have another thread go on instead.
inline constexpr uint64_t kBriefNs = 100'000;
// What is usually brief is given so long: this machine may have held the thread up. Longer, and the
// thread that waits for calls takes its share of the CPU from all other clients.
inline constexpr uint64_t kMostBriefNs = 200'000;

// Threadsafe. Operations that may have to wait take a continuation and hold no thread; the caller
// keeps the network until the continuation was called.
class Network : public std::enable_shared_from_this<Network> {
 public:
  // One of stages or of host_nodes.
  struct StageRef {
    bool on_host = false;
    size_t index = 0;
  };
  struct Parts {
    std::shared_ptr<const neff::Neff> neff;  // in whose weights the stages' DRAM lies
    TensorLayout layout;
    std::vector<std::unique_ptr<PlacedSubgraph>> stages;  // none: host nodes only
    std::vector<std::unique_ptr<HostNode>> host_nodes;
    std::vector<StageRef> order;  // at least one: how they follow each other
    std::vector<std::unique_ptr<scheduler::Slot>> slots;
    std::unique_ptr<LoadCharges> charges = {};  // as long as the network is there
  };
  // In Standby. `machine` and `groups` outlive the network.
  Network(NetworkInfo info, Parts parts, Machine& machine, scheduler::GroupTable& groups);
  // Nothing is in flight and it is not running.
  ~Network();

  const NetworkInfo& info() const { return info_; }
  const std::vector<TensorPort>& inputs() const { return layout_.inputs; }
  const std::vector<TensorPort>& outputs() const { return layout_.outputs; }
  const std::vector<std::unique_ptr<PlacedSubgraph>>& stages() const { return stages_; }
  const std::vector<std::unique_ptr<HostNode>>& host_nodes() const { return host_nodes_; }
  NetworkState state() const;
  std::string failure() const;  // why it is Failed, or ""
  uint32_t slots_in_use() const { return slots_.in_use(); }
  uint64_t slot_bytes() const { return layout_.slot_bytes; }
  uint64_t inferences_done() const { return done_.load(std::memory_order_relaxed); }
  // What those took, from Submit() until the outcome was collected, together.
  uint64_t inferences_ns() const { return done_ns_.load(std::memory_order_relaxed); }
  // Whether its inferences usually take less than kBriefNs of the cores' time.
  bool EndsSoon() const { return usual_device_ns_.load(std::memory_order_relaxed) < kBriefNs; }
  uint32_t restarts() const { return restarts_; }  // because an inference was late
  uint64_t inferences_failed() const { return failed_.load(std::memory_order_relaxed); }

  // Standby -> Running. kInvalid: in another state, or another network of the group is running.
  // kResource: no memory for rings.
  void Start(Then then);
  // Running -> Standby, when what is in flight has ended. kTimeout when it does not within the
  // time-outs of all slots and at most kMaxDrain, which leaves the network Failed.
  void Stop(Then then);
  // How a network goes: what is in flight may end by itself, or it has kAbandonedGrace, after which
  // the cores are reset.
  enum class Urgency { kFinishFirst, kAtOnce };
  // -> Unloading: waits for a start, stop or reset in progress, stops it if it runs, and lets no
  // inference begin any more. The cores are free of it then. kInvalid when it was retired already.
  void Retire(Urgency urgency, Then then);
  // A stop or retirement in progress waits for kAbandonedGrace at most from now on.
  void Hurry();
  // After Retire(): when no slot is taken, or after kDrainMargin; a client that keeps one longer
  // keeps the network's memory as well.
  void AwaitReleased(std::function<void()> then);
  // After Retire(): when nothing is in flight, so that destroying the network waits for nothing.
  void AwaitQuiet(std::function<void()> then);

  // The same, waiting: for loads and tests.
  Result<void> Start();
  Result<void> Stop();
  Result<void> Retire(Urgency urgency = Urgency::kFinishFirst);
  void AwaitReleased();

  // Takes a slot. kQueueFull: none is free; kFailedState: the network failed; kInvalid: it is not
  // running.
  Result<Inference> Begin();

 private:
  friend class Inference;
  Result<void> Transit(NetworkState to) NRTD_REQUIRES(mutex_);
  Result<void> Submit(scheduler::Slot& slot, Completion completion, TimePoint deadline);
  void AwaitSettled() NRTD_REQUIRES(mutex_);
  Result<void> AwaitSettledForCall() NRTD_REQUIRES(mutex_);
  void AwaitReset() NRTD_EXCLUDES(mutex_);
  Result<void> StartStages();
  void Drain(TimePoint deadline, std::function<void()> then);
  bool IsDraining() NRTD_REQUIRES(mutex_);
  void ContinueDrain();
  void EndDrain();
  void ContinueRelease();
  void EndRelease();
  void FinishStop(const Then& then);
  void RetireSettled(Urgency urgency, const Then& then);
  TimePoint IdleDeadline(Urgency urgency) const NRTD_REQUIRES(mutex_);
  // Calls `step` when no reset and no task is in flight: now, or later on a worker.
  void WhenIdle(std::function<void()> step) NRTD_EXCLUDES(mutex_);
  void Settle() NRTD_REQUIRES(mutex_);
  void Run(Workers& workers, void (Network::*step)());
  std::string LateText() const;
  bool Overdue(scheduler::Slot& slot) const NRTD_REQUIRES(mutex_);
  void PostEndOverdue();
  void EndOverdue();
  void CutOff(const std::string& reason, scheduler::Slot* overdue);
  void StopStages();
  void CountOutcome(const scheduler::InferenceOutcome& outcome, Duration latency,
                    uint32_t begun_after_restarts);

  const NetworkInfo info_;
  Machine& machine_;
  scheduler::GroupTable& groups_;
  const std::shared_ptr<const neff::Neff> neff_;
  const TensorLayout layout_;
  const std::unique_ptr<LoadCharges> charges_;
  const std::vector<std::unique_ptr<PlacedSubgraph>> stages_;
  const std::vector<std::unique_ptr<HostNode>> host_nodes_;
  std::vector<scheduler::Slot*> all_slots_;  // those of slots_
  scheduler::SlotPool slots_;

  // Held while an inference is submitted, so that a stop either sees it in flight or keeps it out.
  mutable Mutex mutex_;
  NetworkState state_ NRTD_GUARDED_BY(mutex_) = NetworkState::kStandby;
  std::string failure_ NRTD_GUARDED_BY(mutex_);
  bool retiring_ NRTD_GUARDED_BY(mutex_) = false;
  // Its cores are being reset: they belong to it until that is over, though it may be Failed.
  bool resetting_ NRTD_GUARDED_BY(mutex_) = false;
  // It was restarted because a core hung, so often; no inference that began since has ended on its
  // cores.
  std::atomic<bool> suspect_{false};
  std::atomic<uint32_t> restarts_{0};
  uint32_t reset_waiters_ NRTD_GUARDED_BY(mutex_) = 0;
  std::atomic<int> tasks_{0};  // of workers that use this network; taken off with the lock held
  CondVar settled_;            // a start, a stop, a reset or a task has come to its end
  std::vector<std::function<void()>> settled_steps_ NRTD_GUARDED_BY(mutex_);  // go on then
  std::atomic<uint64_t> done_{0};
  std::atomic<uint64_t> done_ns_{0};
  // What an inference takes of the cores' time when nothing else gets in its way: falls at once,
  // and rises slowly. Unknown before the first one, which counts as long.
  std::atomic<uint64_t> usual_device_ns_{UINT64_MAX};
  std::atomic<uint64_t> failed_{0};

  // Posts a step to the workers when it is woken.
  class Step final : public Waker {
   public:
    Step(Network& network, void (Network::*step)()) : network_(network), step_(step) {}
    void Wake() override { network_.Run(network_.machine_.workers(), step_); }

   private:
    Network& network_;
    void (Network::*const step_)();
  };
  // A stop that waits for what is in flight: slots before this one have ended.
  std::function<void()> drain_ NRTD_GUARDED_BY(mutex_);
  size_t draining_ NRTD_GUARDED_BY(mutex_) = 0;
  bool hurried_ NRTD_GUARDED_BY(mutex_) = false;
  Step drain_step_{*this, &Network::ContinueDrain};
  std::function<void()> release_ NRTD_GUARDED_BY(mutex_);
  Step release_step_{*this, &Network::ContinueRelease};
  // Set for the earliest deadline of what is in flight, or earlier.
  Watchdog::Timer deadlines_;
  Watchdog::Timer drain_deadline_;
  Watchdog::Timer release_deadline_;
};

// One inference: a slot, from Begin() to the destructor, which gives it back; an inference that is
// dropped while in flight is cancelled, or ends by itself if it has begun. Move-only, one thread at
// a time. The way: fill input(i), Submit(), Wait(), read output(i).
class Inference {
 public:
  Inference(Inference&& other) noexcept;
  Inference& operator=(Inference&& other) noexcept;
  Inference(const Inference&) = delete;
  Inference& operator=(const Inference&) = delete;
  ~Inference();

  const Network& network() const { return *network_; }
  MutableByteSpan input(size_t index);
  ByteSpan output(size_t index) const;

  // kInvalid or kFailedState when the network stopped or failed in the meantime.
  Result<void> Submit(Completion completion);
  // Until the end, at most until the deadline: the network's timeout for each inference that was in
  // flight at Submit(), this one included. When the deadline passes, whether or not a thread waits,
  // the code is kTimeout, for everything else in flight as well: the network's cores are reset and
  // it restarts. If that happens again before an inference has ended, the network is Failed.
  scheduler::InferenceOutcome Wait();
  // As Wait(), for a call that holds no thread while another drives the core: nothing, when `waker`
  // will be called, after which the call attends again; the inference may be gone by then.
  // The thread drives the core for no longer than kMostBriefNs before it calls BeforeLong().
  std::optional<scheduler::InferenceOutcome> Attend(Waker& waker);
  // Another thread's Wait() for it need not wait: nobody wants it any more. See Slot::Cancel(). By
  // any thread, while the inference is there and submitted.
  void Cancel(const std::string& reason);
  // From Submit() until the return of Wait().
  Duration latency() const { return latency_; }
  // Would Wait() return at once: has it ended, or has its deadline passed?
  bool Done();

 private:
  friend class Network;
  Inference(std::shared_ptr<Network> network, scheduler::Slot* slot)
      : network_(std::move(network)), slot_(slot) {}
  void Release();
  scheduler::InferenceOutcome Finish();

  std::shared_ptr<Network> network_;
  scheduler::Slot* slot_ = nullptr;
  TimePoint submitted_;
  TimePoint deadline_;
  uint32_t restarts_ = 0;  // of the network before it was submitted
  Duration latency_{};
};

}  // namespace nrtd::runtime
