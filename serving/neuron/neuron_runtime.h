// SPDX-License-Identifier: Apache-2.0
//
// The model server's connection to neuron-rtd.
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
  // In order of creation (NEURONCORE_GROUP_SIZES, "1,2x1"); networks take them in turn. If empty,
  // each network gets a group of as many cores as it was compiled for.
  std::vector<GroupSize> group_sizes;
  std::optional<uint32_t> ninfer;  // NEURON_MAX_NUM_INFERS
  // NEURON_FRAMEWORK_INFER_TIMEOUT_SEC, for networks that do not specify a timeout.
  uint32_t infer_timeout_s = 10;
  Duration connect_timeout = std::chrono::seconds(3);
  // As in client::ConnectOptions.
  rpc::CallQueue* queue = nullptr;
  bool shared_memory = true;  // NEURON_RTD_SHM_MAP is not "no"
  // Called on any thread with the duration of each inference as the daemon's client sees it,
  // including the encoding of tensors.
  std::function<void(Duration)> on_inference = {};

  // Reads the environment. kInvalid with the variable and its value.
  static Result<NeuronOptions> FromEnvironment();
};

// A connection and its session. The daemon frees everything made through it when the session ends.
// Threadsafe.
class NeuronRuntime {
 public:
  // Fails like client::Daemon::Connect(). `on_lost` is called once, on a thread of
  // NeuronOptions::queue, when the daemon is lost; it must not destroy the runtime.
  static Result<std::shared_ptr<NeuronRuntime>> Connect(const NeuronOptions& options,
                                                        std::function<void()> on_lost);

  // Whether the daemon has ended the session or has exited. `on_lost` was called or will be.
  bool is_lost() const { return lost_ || daemon_.is_lost(); }

  client::Daemon& daemon() { return daemon_; }
  uint64_t session_id() const { return session_->id(); }
  const NeuronOptions& options() const { return options_; }
  // Whether tensors may go by shared memory.
  bool shares_memory() const { return shares_memory_; }
  // Stops sharing memory. The first call logs the reason.
  void ShareNoMemory(const Error& why);
  CoreGroups& groups() { return *groups_; }

 private:
  NeuronRuntime(const NeuronOptions& options, client::Daemon daemon)
      : options_(options), daemon_(std::move(daemon)), shares_memory_(options.shared_memory) {}

  const NeuronOptions options_;
  client::Daemon daemon_;
  std::atomic<bool> lost_{false};
  std::atomic<bool> shares_memory_;
  std::optional<client::Session> session_;  // set by Connect()
  std::unique_ptr<CoreGroups> groups_;
};

// Holds the current runtime and replaces it after the daemon was lost.
class RuntimeKeeper {
 public:
  // `on_lost` as NeuronRuntime's.
  RuntimeKeeper(const NeuronOptions& options, std::function<void()> on_lost)
      : options_(options), on_lost_(std::move(on_lost)) {}

  // Waits for the daemon if necessary, and logs what it waits for. kFail after Stop().
  Result<std::shared_ptr<NeuronRuntime>> Get();
  // Threadsafe.
  void Stop() { stopping_ = true; }
  // Drops the runtime. Get() must not be called again. If this was the last reference, `on_lost` is
  // not called after this returns.
  void Release() { runtime_.reset(); }

 private:
  const NeuronOptions options_;
  const std::function<void()> on_lost_;
  std::atomic<bool> stopping_{false};
  std::shared_ptr<NeuronRuntime> runtime_;
};

}  // namespace nrtd::serving
