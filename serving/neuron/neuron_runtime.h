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
#include <thread>
#include <vector>

#include "base/clock.h"
#include "serving/graph/executor.h"
#include "tools/client/daemon.h"

namespace nrtd::serving {

// Groups that a network is loaded onto together, as copies that take inferences in turn.
struct GroupSize {
  uint32_t copies = 1;
  uint32_t cores = 1;
  bool operator==(const GroupSize&) const = default;
};

struct NeuronOptions {
  std::string address;  // as client::ResolveAddress gives it
  // In the order in which they are made (NEURONCORE_GROUP_SIZES, "1,2x1"); networks take them in
  // turn. Empty: each network gets a group of as many cores as it was cut for.
  std::vector<GroupSize> group_sizes;
  std::optional<uint32_t> ninfer;  // NEURON_MAX_NUM_INFERS
  // NEURON_FRAMEWORK_INFER_TIMEOUT_SEC, for networks without a time-out of their own.
  uint32_t infer_timeout_s = 10;
  Duration connect_timeout = std::chrono::seconds(3);

  // From the environment. kInvalid with the variable and its value.
  static Result<NeuronOptions> FromEnvironment();
};

// One connection with its session. All that is made through it goes when the daemon or this does.
// Threadsafe.
class NeuronRuntime {
 public:
  // kFail and kTimeout as client::Daemon::Connect(). `on_lost` is called once, by a thread of this,
  // when the daemon has gone; it must not destroy this.
  static Result<std::shared_ptr<NeuronRuntime>> Connect(const NeuronOptions& options,
                                                        std::function<void()> on_lost);
  ~NeuronRuntime();

  bool is_lost() const { return lost_; }

  client::Daemon& daemon() { return daemon_; }
  uint64_t session_id() const { return session_.id(); }
  const NeuronOptions& options() const { return options_; }
  // The groups for the copies of a network of so many cores.
  Result<std::vector<uint32_t>> GroupsFor(uint32_t cores);
  // A group that no other network has; kResource where all are taken.
  Result<std::vector<uint32_t>> FreshGroup(uint32_t cores);

 private:
  NeuronRuntime(const NeuronOptions& options, client::Daemon daemon, client::Session session);
  Result<void> MakeGroups();

  const NeuronOptions options_;
  client::Daemon daemon_;
  client::Session session_;
  Mutex mutex_;
  std::vector<std::vector<uint32_t>> groups_ NRTD_GUARDED_BY(mutex_);
  size_t next_group_ NRTD_GUARDED_BY(mutex_) = 0;
  std::atomic<bool> ending_{false};
  std::atomic<bool> lost_{false};
  std::thread watch_;  // of the session
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

// One executable, loaded as often as it has groups, each with room for so many inferences at once.
// Threadsafe.
class Copies {
 public:
  void Add(uint32_t network, uint32_t places);
  std::vector<uint32_t> networks() const;
  // Takes a place of the copy with the most room, and waits for one until the deadline. kTimeout.
  Result<uint32_t> Take(TimePoint deadline);
  void GiveBack(uint32_t network);

 private:
  struct Copy {
    uint32_t network = 0;
    uint32_t free = 0;
  };
  SteadyClock clock_;
  mutable Mutex mutex_;
  CondVar freed_;
  std::vector<Copy> copies_ NRTD_GUARDED_BY(mutex_);
};

// The networks of one graph, loaded and started. They are unloaded by the destructor, which waits
// for inferences under way. Threadsafe.
class NeuronModel final : public NeuronRunner {
 public:
  // Of an op with several executables, the first one must find a core, the others are left out,
  // with a line in the log, where none is free. Errors of the daemon, with the node.
  static Result<std::unique_ptr<NeuronModel>> Load(const Graph& graph,
                                                   std::shared_ptr<NeuronRuntime> runtime);
  ~NeuronModel() override;

  Result<std::vector<Tensor>> Run(const op::Neuron& op, std::vector<Tensor> inputs,
                                  TimePoint deadline) override;

 private:
  explicit NeuronModel(std::shared_ptr<NeuronRuntime> runtime) : runtime_(std::move(runtime)) {}
  // The executables of one op that are loaded.
  struct Variants {
    std::vector<int64_t> batches;  // ascending
    std::map<int64_t, Copies> by_batch;
  };
  Result<void> LoadOp(const op::Neuron& op);
  Result<void> LoadExecutable(const op::Neuron& op, const op::Executable& executable,
                              const std::vector<uint32_t>& groups);
  Result<std::vector<Tensor>> Infer(const op::Neuron& op, uint32_t network, int64_t batch,
                                    std::vector<Tensor> inputs, TimePoint deadline);

  const std::shared_ptr<NeuronRuntime> runtime_;
  SteadyClock clock_;
  std::deque<Variants> ops_;  // by op::Neuron::number; as they are from Load() on
};

}  // namespace nrtd::serving
