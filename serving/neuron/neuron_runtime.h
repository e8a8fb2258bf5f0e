// SPDX-License-Identifier: Apache-2.0
//
// The model server's side of neuron-rtd.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "serving/graph/executor.h"
#include "serving/neuron/core_groups.h"
#include "tools/client/daemon.h"

namespace nrtd::serving {

struct NeuronOptions {
  std::string address;  // as client::ResolveAddress gives it
  // In the order in which they are made (NEURONCORE_GROUP_SIZES, "1,2x1"); networks take them in
  // turn. Empty: each network gets a group of as many cores as it was cut for.
  std::vector<GroupSize> group_sizes;
  std::optional<uint32_t> ninfer;  // NEURON_MAX_NUM_INFERS
  // NEURON_FRAMEWORK_INFER_TIMEOUT_SEC, for networks without a time-out of their own.
  uint32_t infer_timeout_s = 10;
  Duration connect_timeout = std::chrono::seconds(3);
  // Of client::ConnectOptions.
  rpc::CallQueue* queue = nullptr;
  // Called by any thread with what an inference took, as the client sees it.
  std::function<void(Duration)> on_inference = {};

  // From the environment. kInvalid with the variable and its value.
  static Result<NeuronOptions> FromEnvironment();
};

// One connection with its session. All that is made through it goes when the daemon or this does.
// Threadsafe.
class NeuronRuntime {
 public:
  // kFail and kTimeout as client::Daemon::Connect(). `on_lost` is called once, by a thread of
  // NeuronOptions::queue, when the daemon has gone; it must not destroy this.
  static Result<std::shared_ptr<NeuronRuntime>> Connect(const NeuronOptions& options,
                                                        std::function<void()> on_lost);

  bool is_lost() const { return lost_; }

  client::Daemon& daemon() { return daemon_; }
  uint64_t session_id() const { return session_->id(); }
  const NeuronOptions& options() const { return options_; }
  CoreGroups& groups() { return *groups_; }

 private:
  NeuronRuntime(const NeuronOptions& options, client::Daemon daemon)
      : options_(options), daemon_(std::move(daemon)) {}

  const NeuronOptions options_;
  client::Daemon daemon_;
  std::atomic<bool> lost_{false};
  std::optional<client::Session> session_;  // from Connect() on
  std::unique_ptr<CoreGroups> groups_;
};

// The runtime, as long as there is one, and a new one when the daemon has been away.
class RuntimeKeeper {
 public:
  // `on_lost` as NeuronRuntime's.
  RuntimeKeeper(const NeuronOptions& options, std::function<void()> on_lost)
      : options_(options), on_lost_(std::move(on_lost)) {}

  // Waits until there is a daemon, and says in the log what it waits for. kFail after Stop().
  Result<std::shared_ptr<NeuronRuntime>> Get();
  // Threadsafe.
  void Stop() { stopping_ = true; }
  // Get() is not called any more, and `on_lost` not either when this returns, if nobody else has
  // the runtime.
  void Release() { runtime_.reset(); }

 private:
  const NeuronOptions options_;
  const std::function<void()> on_lost_;
  std::atomic<bool> stopping_{false};
  std::shared_ptr<NeuronRuntime> runtime_;
};

// One executable, loaded onto each group of a place, with room for so many inferences at once on
// each. Threadsafe.
class Copies {
 public:
  struct Copy {
    uint32_t network = 0;
    uint32_t free = 0;
    std::shared_ptr<CoreGroup> group = {};
  };
  // Where all of them are; kept as long as this.
  void SetPlace(std::shared_ptr<const CorePlace> place) { place_ = std::move(place); }
  void Add(Copy copy);
  std::vector<uint32_t> networks() const;
  // Takes room of the copy with the most of it, and waits for some until the deadline. kTimeout.
  Result<Copy> Take(TimePoint deadline);
  // Nothing: there is none now.
  std::optional<Copy> TryTake();
  void GiveBack(const Copy& taken);

 private:
  std::optional<Copy> TakeBest() NRTD_REQUIRES(mutex_);

  std::shared_ptr<const CorePlace> place_;
  SteadyClock clock_;
  mutable Mutex mutex_;
  CondVar freed_;
  std::vector<Copy> copies_ NRTD_GUARDED_BY(mutex_);
};

// The networks of one graph, loaded and started. They are unloaded by the destructor, which waits
// for inferences under way. Threadsafe.
class NeuronModel final : public NeuronRunner {
 public:
  // Each executable gets NeuronCores of its own as long as there are any. Then the first one of an
  // op shares others' with them, and the further ones, also those that the daemon has no memory
  // for, are left out, with a line in the log. Errors of the daemon, with the node.
  static Result<std::unique_ptr<NeuronModel>> Load(const Graph& graph,
                                                   std::shared_ptr<NeuronRuntime> runtime);
  ~NeuronModel() override;

  Result<std::vector<Tensor>> Run(const op::Neuron& op, std::vector<Tensor> inputs,
                                  TimePoint deadline) override;
  // Without waiting where the inputs are of a compiled size and a core may run it at once;
  // otherwise the thread hands NeuronOptions::queue over and waits. kResource: it must not.
  void Start(const op::Neuron& op, std::vector<Tensor> inputs, TimePoint deadline,
             NeuronDone done) override;

 private:
  explicit NeuronModel(std::shared_ptr<NeuronRuntime> runtime) : runtime_(std::move(runtime)) {}
  // The executables of one op that are loaded.
  struct Variants {
    std::vector<int64_t> batches;  // ascending
    std::map<int64_t, Copies> by_batch;
  };
  Result<void> LoadOp(const op::Neuron& op);
  Result<void> LoadExecutable(const op::Neuron& op, const op::Executable& executable,
                              const std::shared_ptr<const CorePlace>& place);
  void Unload(const Copies& copies);
  // What runs on a group.
  Result<void> Change(uint32_t running, uint32_t wanted);
  // On one of the copies.
  Result<std::vector<Tensor>> RunOnOne(const op::Neuron& op, int64_t batch, Copies& copies,
                                       std::vector<Tensor> inputs, TimePoint deadline);
  // One on which the network may run at once; with room taken and entered.
  static std::optional<Copies::Copy> TryEnter(Copies& copies);
  void StartOn(const Copies::Copy& copy, const op::Neuron& op, int64_t batch, Copies& copies,
               std::vector<Tensor> inputs, TimePoint deadline, NeuronDone done);
  Result<std::vector<Tensor>> Infer(const op::Neuron& op, uint32_t network, int64_t batch,
                                    std::vector<Tensor> inputs, TimePoint deadline);
  void CountInference(TimePoint began);

  const std::shared_ptr<NeuronRuntime> runtime_;
  SteadyClock clock_;
  std::deque<Variants> ops_;  // by op::Neuron::number; as they are from Load() on
};

}  // namespace nrtd::serving
