// SPDX-License-Identifier: Apache-2.0
//
// tensorflow_model_server_neuron: TensorFlow Serving's API in front of neuron-rtd.
#include <atomic>
#include <csignal>
#include <cstdio>
#include <exception>
#include <functional>
#include <future>
#include <optional>
#include <string>
#include <thread>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <pthread.h>
#include <unistd.h>

#include "base/log.h"
#include "serving/model/model_manager.h"
#include "serving/service/grpc_services.h"

namespace nrtd::serving {
namespace {

// For requests under way, as long as Kubernetes gives a pod less its margin.
constexpr auto kShutdownGrace = std::chrono::seconds(10);

struct Flags {
  int port = 8500;
  std::string model_name = "default";
  std::string model_base_path;
  double file_system_poll_wait_seconds = 1;
  int max_num_load_retries = 5;
  int64_t load_retry_interval_micros = 60'000'000;
};

void Declare(CLI::App& app, Flags& flags) {
  app.add_option("--port", flags.port, "TCP port of the gRPC API")->capture_default_str();
  app.add_option("--model_name", flags.model_name, "The model's name")->capture_default_str();
  app.add_option("--model_base_path", flags.model_base_path,
                 "The folder with the model's versions: folders with numbers for names");
  app.add_option("--file_system_poll_wait_seconds", flags.file_system_poll_wait_seconds,
                 "How often folders are looked at for new versions; 0: once")
      ->capture_default_str();
  app.add_option("--max_num_load_retries", flags.max_num_load_retries,
                 "How often a version is tried again that could not be loaded")
      ->capture_default_str();
  app.add_option("--load_retry_interval_micros", flags.load_retry_interval_micros,
                 "How long after a failure")
      ->capture_default_str();
  app.set_version_flag("--version", "TensorFlow ModelServer: 1.15.0 (neuron-rtd " NRTD_VERSION ")");
}

// SIGTERM and SIGINT are for AwaitSignal() alone.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

void Say(const std::string& problem) {
  fmt::print(stderr, "tensorflow_model_server_neuron: {}\n", problem);
}

ModelManager::Options ManagerOptions(const Flags& flags) {
  ModelManager::Options options;
  options.poll = std::chrono::duration_cast<Duration>(
      std::chrono::duration<double>(flags.file_system_poll_wait_seconds));
  options.load_retries = flags.max_num_load_retries;
  options.retry_after = std::chrono::microseconds(flags.load_retry_interval_micros);
  return options;
}

// Listens, and serves until a signal comes.
int Serve(const Flags& flags, ModelManager& models, const std::function<int()>& await_signal) {
  PredictionService prediction(models);
  ModelService model_service(models);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(fmt::format("0.0.0.0:{}", flags.port), grpc::InsecureServerCredentials(),
                           &port);
  builder.SetMaxReceiveMessageSize(INT32_MAX);
  builder.SetMaxSendMessageSize(INT32_MAX);
  builder.RegisterService(&prediction);
  builder.RegisterService(&model_service);
  const auto server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    Say(fmt::format("cannot listen on port {}", flags.port));
    return 1;
  }
  Log(LogLevel::kInfo, "ModelServer", "Running gRPC ModelServer at 0.0.0.0:{} ...", port);
  const int signal = await_signal();
  Log(LogLevel::kInfo, "ModelServer", "signal {}: shutting down", signal);
  server->Shutdown(std::chrono::system_clock::now() + kShutdownGrace);
  return 0;
}

int LoadAndServe(const Flags& flags) {
  const sigset_t signals = BlockSignals();
  if (flags.model_base_path.empty()) {
    Say("--model_base_path is missing");
    return 2;
  }
  const auto options = NeuronOptions::FromEnvironment();
  if (!options) {
    Say(options.error().text);
    return 2;
  }
  ModelManager* manager = nullptr;
  RuntimeKeeper keeper(*options, [&] { manager->LoadAnew(); });
  ModelManager models(ManagerOptions(flags),
                      [&](const std::string& model, int64_t version,
                          const std::string& folder) -> Result<std::shared_ptr<const Servable>> {
                        NRTD_ASSIGN(const auto runtime, keeper.Get());
                        return LoadServable(model, version, folder, runtime);
                      });
  manager = &models;
  if (auto set = models.SetModels({{flags.model_name, flags.model_base_path, Latest{}, {}}});
      !set) {
    Say(set.error().text);
    return 2;
  }
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
  const int exit_code = loaded ? Serve(flags, models, [&] { return signal.get(); }) : 0;
  if (exit_code != 0) (void)::kill(::getpid(), SIGTERM);  // for the thread that waits for one
  models.Shutdown();
  keeper.Release();
  return exit_code;
}

int Run(int argc, char** argv) {
  CLI::App app(
      "Serves SavedModels of tensorflow-neuron 1.x over TensorFlow Serving's API, computed "
      "by the neuron-rtd at NEURON_RTD_ADDRESS.",
      "tensorflow_model_server_neuron");
  Flags flags;
  Declare(app, flags);
  app.allow_extras();
  CLI11_PARSE(app, argc, argv);
  for (const std::string& unknown : app.remaining())
    fmt::print(stderr, "tensorflow_model_server_neuron: {} has no effect here\n", unknown);
  LogOptions log;
  log.console = true;
  log.syslog = false;
  InitLog(log);
  return LoadAndServe(flags);
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
