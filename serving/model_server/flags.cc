// SPDX-License-Identifier: Apache-2.0
#include "serving/model_server/flags.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/command_line.h"

namespace nrtd::serving {
namespace {

// Of TensorFlow's own runtime, profiler and file systems.
constexpr const char* kWithoutEffect[] = {
    "--enable_grpc_healthcheck_service",
    "--enable_model_warmup",
    "--enable_per_model_batching_parameters",
    "--enable_profiler",
    "--enable_serialization_as_tensor_content",
    "--enable_signature_method_name_check",
    "--flush_filesystem_caches",
    "--mixed_precision",
    "--num_load_threads",
    "--num_request_iterations_for_warmup",
    "--num_tflite_interpreters_per_pool",
    "--num_tflite_pools",
    "--num_unload_threads",
    "--per_process_gpu_memory_fraction",
    "--platform_config_file",
    "--prefer_tflite_model",
    "--remove_unused_fields_from_bundle_metagraph",
    "--rest_api_enable_cors_support",
    "--saved_model_tags",
    "--skip_initialize_tpu",
    "--tensorflow_inter_op_parallelism",
    "--tensorflow_intra_op_parallelism",
    "--tensorflow_session_config_file",
    "--tensorflow_session_parallelism",
    "--thread_pool_factory_config_file",
    "--use_alts_credentials",
    "--use_tflite_model",
    "--xla_cpu_compilation_enabled",
    "--xla_gpu_compilation_enabled",
};

void Declare(CommandLine& app, Flags& flags) {
  app.AddOption("--port", &flags.port, "TCP port of the gRPC API; 0: one that is free");
  app.AddOption("--grpc_socket_path", &flags.grpc_socket_path,
                "Unix socket of the gRPC API, in addition to the port");
  app.AddOption("--rest_api_port", &flags.rest_api_port, "TCP port of the REST API; 0: none");
  app.AddOption("--rest_api_num_threads", &flags.rest_api_num_threads,
                "Threads that answer REST requests; 0: four for each CPU");
  app.AddOption("--rest_api_timeout_in_ms", &flags.rest_api_timeout_in_ms,
                "How long a REST request may take");
  app.AddOption("--model_name", &flags.model_name, "The model's name");
  app.AddOption("--model_base_path", &flags.model_base_path,
                "The folder with the model's versions: folders with numbers for names");
  app.AddOption("--model_config_file", &flags.model_config_file,
                "Text file with a ModelServerConfig: several models, policies, labels");
  app.AddOption("--model_config_file_poll_wait_seconds", &flags.model_config_file_poll_wait_seconds,
                "How often that file is read again; 0: once");
  app.AddOption("--file_system_poll_wait_seconds", &flags.file_system_poll_wait_seconds,
                "How often folders are looked at for new versions; 0: once");
  app.AddFlag("--allow_version_labels_for_unavailable_models",
              &flags.allow_version_labels_for_unavailable_models,
              "A new label may name a version that is not available yet");
  app.AddOption("--max_num_load_retries", &flags.max_num_load_retries,
                "How often a version is tried again that could not be loaded");
  app.AddOption("--load_retry_interval_micros", &flags.load_retry_interval_micros,
                "How long after a failure");
  app.AddFlag("--enable_batching", &flags.enable_batching,
              "Requests that come at the same time run together");
  app.AddOption("--batching_parameters_file", &flags.batching_parameters_file,
                "Text file with BatchingParameters");
  app.AddOption("--monitoring_config_file", &flags.monitoring_config_file,
                "Text file with a MonitoringConfig: the page for Prometheus, on the REST port");
  app.AddOption("--ssl_config_file", &flags.ssl_config_file,
                "Text file with an SSLConfig: the gRPC API by TLS");
  app.AddOption("--grpc_max_threads", &flags.grpc_max_threads,
                "Threads of the gRPC API; 0: as many as there are requests");
  app.AddOption("--grpc_channel_arguments", &flags.grpc_channel_arguments,
                "Arguments of gRPC's core: name=value,...");
  app.ShowDefaults();
  app.AddVersion("--version", "TensorFlow ModelServer: 1.15.0 (neuron-rtd " NRTD_VERSION
                              ")\nTensorFlow Library: none, neuron-rtd computes");
}

void Warn(const std::string& argument) {
  const std::string name = argument.substr(0, argument.find('='));
  const bool known = std::find(std::begin(kWithoutEffect), std::end(kWithoutEffect), name) !=
                     std::end(kWithoutEffect);
  if (known) {
    fmt::print(stderr, "tensorflow_model_server_neuron: {} has no effect here\n", name);
  } else {
    fmt::print(stderr, "unknown argument: {}\n", argument);
  }
}

}  // namespace

std::optional<int> ParseFlags(int argc, char** argv, Flags* flags) {
  CommandLine app(
      "Serves SavedModels of tensorflow-neuron 1.x over TensorFlow Serving's API, computed "
      "by the neuron-rtd at NEURON_RTD_ADDRESS.",
      "tensorflow_model_server_neuron");
  Declare(app, *flags);
  app.AllowUnknown();
  constexpr int kUsage = 255;  // as in the original
  if (const auto exit_code = app.Parse(argc, argv)) return *exit_code == 0 ? 0 : kUsage;
  for (const std::string& unknown : app.unknown()) Warn(unknown);
  return std::nullopt;
}

Result<void> CheckFlags(const Flags& flags) {
  if (flags.model_base_path.empty() && flags.model_config_file.empty()) {
    return Fail(Nerr::kInvalid,
                "Both server_options.model_base_path and server_options.model_config_file are "
                "empty! Say where the model is: --model_base_path=/models/NAME");
  }
  if (!flags.batching_parameters_file.empty() && !flags.enable_batching) {
    return Fail(Nerr::kInvalid,
                "server_options.batching_parameters_file is set without setting "
                "server_options.enable_batching to true.");
  }
  if (flags.rest_api_port != 0 && flags.rest_api_port == flags.port) {
    return Fail(Nerr::kInvalid,
                "server_options.http_port cannot be same as grpc_port. Please use a different port "
                "for HTTP/REST API.");
  }
  if (flags.port < 0 || flags.port > 65535)
    return Fail(Nerr::kInvalid, "--port is {}: use a number from 0 to 65535", flags.port);
  if (flags.rest_api_port < 0 || flags.rest_api_port > 65535)
    return Fail(Nerr::kInvalid, "--rest_api_port is {}: use a number from 0 to 65535",
                flags.rest_api_port);
  if (!flags.monitoring_config_file.empty() && flags.rest_api_port == 0)
    return Fail(Nerr::kInvalid, "--monitoring_config_file needs --rest_api_port");
  return {};
}

}  // namespace nrtd::serving
