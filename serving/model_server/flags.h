// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"

namespace nrtd::serving {

// The flags of tensorflow_model_server 1.15 and 2.5 that mean something here.
struct Flags {
  int port = 8500;               // 0: one that is free
  std::string grpc_socket_path;  // empty: none
  int rest_api_port = 0;         // 0: none
  int rest_api_num_threads = 0;  // 0: four for each CPU
  int rest_api_timeout_in_ms = 30'000;
  std::string model_name = "default";
  std::string model_base_path;
  std::string model_config_file;
  double model_config_file_poll_wait_seconds = 0;
  double file_system_poll_wait_seconds = 1;
  bool allow_version_labels_for_unavailable_models = false;
  int max_num_load_retries = 5;
  int64_t load_retry_interval_micros = 60'000'000;
  bool enable_batching = false;
  std::string batching_parameters_file;
  std::string monitoring_config_file;
  std::string ssl_config_file;
  int grpc_max_threads = 0;  // 0: as many as requests
  std::string grpc_channel_arguments;
};

// Nothing: serve. Otherwise the exit code; help, version or the problem has been printed. Flags of
// the original that have no effect here, and what is unknown, are named on stderr.
std::optional<int> ParseFlags(int argc, char** argv, Flags* flags);
// kInvalid: combinations that the original refuses.
Result<void> CheckFlags(const Flags& flags);

}  // namespace nrtd::serving
