// SPDX-License-Identifier: Apache-2.0
//
// A loaded network: its subgraphs on their cores, its slots, its state. And one inference on it.
#pragma once

#include <atomic>
#include <memory>
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

// Threadsafe.
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
  uint32_t restarts() const { return restarts_; }  // because an inference was late
  uint64_t inferences_failed() const { return failed_.load(std::memory_order_relaxed); }

  // Standby -> Running. kInvalid: in another state, or another network of the group is running.
  // kResource: no memory for rings.
  Result<void> Start();
  // Running -> Standby, when what is in flight has ended. kTimeout when it does not, which leaves
  // the network Failed.
  Result<void> Stop();
  // How a network goes: what is in flight may end by itself, or there is nobody any more who would
  // want it, and cores that do not end it at once are reset.
  enum class Urgency { kFinishFirst, kAtOnce };
  // -> Unloading: waits for whoever starts or stops it now, stops it if it runs, and lets no
  // inference begin any more. The cores are free of it then. kInvalid when it was retired already.
  Result<void> Retire(Urgency urgency = Urgency::kFinishFirst);
  // After Retire(): until no slot is taken, for a moment only; whoever keeps one longer keeps the
  // network's memory as well.
  void AwaitReleased();

  // Takes a slot. kQueueFull: none is free; kFailedState: the network failed; kInvalid: it is not
  // running.
  Result<Inference> Begin();

 private:
  friend class Inference;
  Result<void> Transit(NetworkState to) NRTD_REQUIRES(mutex_);
  Result<void> Submit(scheduler::Slot& slot, Completion completion, TimePoint deadline);
  void AwaitSettled() NRTD_REQUIRES(mutex_);
  void AwaitReset() NRTD_EXCLUDES(mutex_);
  Result<void> FinishStop(TimePoint deadline);
  TimePoint IdleDeadline() const;
  std::string LateText() const;
  bool Overdue(scheduler::Slot& slot) const;
  void PostEndOverdue();
  void EndOverdue();
  void CutOff(const std::string& reason, scheduler::Slot* overdue);
  void StopStages();
  void CountOutcome(const scheduler::InferenceOutcome& outcome, uint32_t begun_after_restarts);

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
  int tasks_ NRTD_GUARDED_BY(mutex_) = 0;  // of workers that use this network
  CondVar settled_;                        // a start, a stop or a reset has come to its end
  std::atomic<uint64_t> done_{0};
  std::atomic<uint64_t> failed_{0};
  // Set for the earliest deadline of what is in flight, or earlier.
  Watchdog::Timer deadlines_;
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

  std::shared_ptr<Network> network_;
  scheduler::Slot* slot_ = nullptr;
  TimePoint submitted_;
  TimePoint deadline_;
  uint32_t restarts_ = 0;  // of the network before it was submitted
  Duration latency_{};
};

}  // namespace nrtd::runtime
