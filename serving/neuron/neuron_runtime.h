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
  bool shared_memory = true;  // NEURON_RTD_SHM_MAP is not "no"
  // Called by any thread with what an inference took, as the client sees it, from its tensors to
  // the daemon's.
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

  // The daemon has ended the session or has gone. `on_lost` was called, or is about to be.
  bool is_lost() const { return lost_ || daemon_.is_lost(); }

  client::Daemon& daemon() { return daemon_; }
  uint64_t session_id() const { return session_->id(); }
  const NeuronOptions& options() const { return options_; }
  // Whether tensors may go by shared memory.
  bool shares_memory() const { return shares_memory_; }
  // Not any more; `why` is said in the log, once.
  void ShareNoMemory(const Error& why);
  CoreGroups& groups() { return *groups_; }

 private:
  NeuronRuntime(const NeuronOptions& options, client::Daemon daemon)
      : options_(options), daemon_(std::move(daemon)), shares_memory_(options.shared_memory) {}

  const NeuronOptions options_;
  client::Daemon daemon_;
  std::atomic<bool> lost_{false};
  std::atomic<bool> shares_memory_;
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

}  // namespace nrtd::serving
