// SPDX-License-Identifier: Apache-2.0
//
// tensorflow_model_server_neuron: TensorFlow Serving's API in front of neuron-rtd.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <future>
#include <optional>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <unistd.h>

#include "base/end_signals.h"
#include "base/log.h"
#include "rpc/grpc_settings.h"
#include "serving/config/model_config.h"
#include "serving/config/text_file.h"
#include "serving/model_server/endpoints.h"
#include "serving/model_server/flags.h"

namespace nrtd::serving {
namespace {

// For requests under way, as long as Kubernetes gives a pod less its margin.
constexpr auto kShutdownGrace = std::chrono::seconds(10);
// What the daemon's infer takes, as this server sees it.
constexpr const char* kInferLatency = "/neuron/serving/infer_latency";
constexpr const char* kBatchWait = "/tensorflow/serving/batching_session/queuing_latency";
constexpr Buckets kBatchWaitBuckets{100, 1.2, 52};

int Refuse(const Error& problem) {
  fmt::print(stderr, "Failed to start server. Error: {}: {}\n",
             CodeName(StatusOf(problem).error_code()), problem.text);
  return 255;
}

ModelManager::Options ManagerOptions(const Flags& flags) {
  ModelManager::Options options;
  options.poll = std::chrono::duration_cast<Duration>(
      std::chrono::duration<double>(flags.file_system_poll_wait_seconds));
  options.load_retries = flags.max_num_load_retries;
  options.retry_after = std::chrono::microseconds(flags.load_retry_interval_micros);
  options.labels_of_unavailable = flags.allow_version_labels_for_unavailable_models;
  return options;
}

Result<std::vector<ModelSource>> ConfiguredModels(const Flags& flags) {
  if (flags.model_config_file.empty())
    return std::vector<ModelSource>{{flags.model_name, flags.model_base_path, Latest{}, {}}};
  tensorflow::serving::ModelServerConfig config;
  NRTD_TRY(ReadTextMessage(flags.model_config_file, &config));
  return SourcesOf(config);
}

// Reads the file of models again and again. A file that is wrong changes nothing.
class ConfigPoller {
 public:
  ConfigPoller(const Flags& flags, ModelManager& models) : flags_(flags), models_(models) {
    if (!flags.model_config_file.empty() && flags.model_config_file_poll_wait_seconds > 0)
      thread_ = std::thread([this] { Run(); });
  }
  ~ConfigPoller() {
    {
      MutexLock lock(mutex_);
      stopping_ = true;
      stopped_.NotifyAll();
    }
    if (thread_.joinable()) thread_.join();
  }

 private:
  void Run() {
    const auto wait = std::chrono::duration_cast<Duration>(
        std::chrono::duration<double>(flags_.model_config_file_poll_wait_seconds));
    MutexLock lock(mutex_);
    while (!stopping_) {
      const TimePoint next = clock_.Now() + wait;
      while (!stopping_ && clock_.Now() < next) clock_.WaitUntil(stopped_, mutex_, next);
      if (stopping_) return;
      if (auto models = ConfiguredModels(flags_); !models) {
        Log(LogLevel::kError, "ModelServer", "Failed to read ModelServerConfig file: {}",
            AsIs(models.error().text));
      } else if (auto set = models_.SetModels(*models); !set) {
        Log(LogLevel::kError, "ModelServer",
            "PollFilesystemAndReloadConfig failed to ReloadConfig: {}", AsIs(set.error().text));
      }
    }
  }

  const Flags flags_;
  ModelManager& models_;
  SteadyClock clock_;
  Mutex mutex_;
  CondVar stopped_;
  bool stopping_ NRTD_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

Result<std::unique_ptr<BatchScheduler>> MakeBatching(const Flags& flags, Metrics& metrics) {
  if (!flags.enable_batching) return nullptr;
  BatchingParameters parameters;
  if (!flags.batching_parameters_file.empty()) {
    NRTD_ASSIGN(parameters, BatchingParameters::FromFile(flags.batching_parameters_file));
  }
  auto batching = std::make_unique<BatchScheduler>(parameters);
  metrics.DeclareHistogram(kBatchWait, kBatchWaitBuckets);
  batching->OnBatch([&metrics](double microseconds) {
    metrics.Observe(kBatchWait, {{"thread_pool_name", ""}}, microseconds);
  });
  return batching;
}

uint32_t MaxThreads(const Flags& flags) {
  constexpr uint32_t kManyThreads = 4096;
  if (flags.grpc_max_threads <= 0) return kManyThreads;
  return std::max(static_cast<uint32_t>(flags.grpc_max_threads), 2U);
}

// The end of what runs, in its order.
class Ending {
 public:
  Ending(ModelManager& models, RuntimeKeeper& keeper, rpc::CallQueue& queue)
      : models_(models), keeper_(keeper), queue_(queue) {}
  ~Ending() {
    keeper_.Stop();
    models_.Shutdown();
    keeper_.Release();
    queue_.Stop();
  }

 private:
  ModelManager& models_;
  RuntimeKeeper& keeper_;
  rpc::CallQueue& queue_;
};

// Serves until a signal comes.
Result<void> Serve(const Flags& flags, grpc::ServerBuilder& builder, rpc::CallQueue& queue,
                   ModelManager& models, Metrics& metrics,
                   const std::function<int()>& await_signal) {
  NRTD_TRY(models.Failures("servable(s)"));
  Calls calls(models, metrics, queue);
  NRTD_ASSIGN(const auto endpoints, Endpoints::Open(flags, builder, queue, calls, metrics));
  const ConfigPoller poller(flags, models);
  const int signal = await_signal();
  Log(LogLevel::kInfo, "ModelServer", "signal {}: shutting down", signal);
  models.Stop();  // requests that are waiting for a model fail now
  endpoints->Close(kShutdownGrace);
  return {};
}

Result<void> LoadAndServe(const Flags& flags) {
  const sigset_t signals = BlockEndSignals();
  rpc::SetUpLocks();
  rpc::UsePoll();
  NRTD_TRY(CheckFlags(flags));
  NRTD_ASSIGN(auto options, NeuronOptions::FromEnvironment());
  grpc::ServerBuilder builder;
  rpc::CallQueue queue(builder.AddCompletionQueue(), MaxThreads(flags));
  options.queue = &queue;
  NRTD_ASSIGN(const auto sources, ConfiguredModels(flags));
  Metrics metrics;
  metrics.DeclareHistogram(kInferLatency, kLatencyBuckets);
  options.on_inference = [&metrics](Duration took) {
    metrics.Observe(kInferLatency, {}, std::chrono::duration<double, std::micro>(took).count());
  };
  NRTD_ASSIGN(const auto batching, MakeBatching(flags, metrics));
  ModelManager* manager = nullptr;
  RuntimeKeeper keeper(options, [&] { manager->LoadAnew(); });
  ModelManager models(ManagerOptions(flags),
                      [&](const std::string& model, int64_t version,
                          const std::string& folder) -> Result<std::shared_ptr<const Servable>> {
                        NRTD_ASSIGN(const auto runtime, keeper.Get());
                        return LoadServable(model, version, folder, runtime, batching.get());
                      });
  manager = &models;
  NRTD_TRY(queue.Start());
  const Ending ending(models, keeper, queue);
  NRTD_TRY(models.SetModels(sources));
  // A signal may come before anything is served.
  std::atomic<bool> serving{false};
  std::promise<int> signalled;
  const std::shared_future<int> signal = signalled.get_future().share();
  const std::jthread waiter([&] {
    int number = 0;
    (void)sigwait(&signals, &number);
    keeper.Stop();
    signalled.set_value(number);
    if (!serving) models.Stop();
  });
  const bool loaded = models.AwaitLoaded(TimePoint::max());
  serving = loaded;
  Result<void> served;
  if (loaded) served = Serve(flags, builder, queue, models, metrics, [&] { return signal.get(); });
  if (!served) (void)::kill(::getpid(), SIGTERM);  // for the thread that waits for one
  return served;
}

int Run(int argc, char** argv) {
  Flags flags;
  if (const auto exit_code = ParseFlags(argc, argv, &flags)) return *exit_code;
  LogOptions log;
  log.console = true;
  log.syslog = false;
  InitLog(log);
  const auto served = LoadAndServe(flags);
  return served ? 0 : Refuse(served.error());
}

}  // namespace
}  // namespace nrtd::serving

int main(int argc, char** argv) {
  try {
    return nrtd::serving::Run(argc, argv);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "tensorflow_model_server_neuron: %s\n", problem.what());
    return 1;
  }
}
