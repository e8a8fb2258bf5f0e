// SPDX-License-Identifier: Apache-2.0
//
// The files that configure a daemon, in the places and the form of neuron-rtd 1.x.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"

namespace nrtd::runtime {

inline constexpr const char* kDefaultConfigFile = "/opt/aws/neuron/config/neuron-rtd.config";
// Where `-i nrtd0` looks for nrtd0.json, in this order.
inline constexpr const char* kInstanceDirectories[] = {"/opt/aws/neuron/bin",
                                                       "/opt/aws/neuron/config"};

// What the configuration file says; what it does not say is unset. The command line goes first.
struct Config {
  // As 1.x had them.
  std::optional<uint32_t> model_cache_count;
  std::optional<uint32_t> default_timeout;  // seconds an inference
  std::optional<uint32_t> default_ninfer;
  std::optional<bool> io_dma_data_host;  // understood and of no effect: tensors are in host memory
  // Ours.
  std::optional<uint32_t> log_level;
  std::optional<uint32_t> hugepages;     // a device
  std::optional<std::string> isolation;  // "none" or "session"
  std::vector<uint32_t> operator_uids;
  std::vector<uint32_t> operator_gids;
  std::optional<bool> reclaim_on_disconnect;
  std::optional<std::string> socket_mode;  // "0660"
  std::optional<std::string> socket_group;
  std::optional<std::string> lock_directory;
  std::optional<std::string> state_directory;
  std::vector<std::string> client_limits;  // "mappings=64"
  std::vector<std::string> total_limits;
  std::optional<uint32_t> call_rate;
};
inline constexpr uint32_t kMaxCallRate = 1'000'000;

// One of several daemons on a machine.
struct Instance {
  std::string name;
  std::string server_port;        // "unix:/run/neuron.sock0"
  std::vector<uint32_t> devices;  // "devices", or "infa_devices" as the oldest files have it
};

// kInvalid: "FILE, line 7: key 'default_ninfer': a number from 1 to 1024 is expected, not
// \"many\"". Keys that are not known are left alone and named in a warning: files of other versions
// work.
Result<Config> ReadConfig(const std::string& path);
Result<Instance> ReadInstance(const std::string& path);

// The file of `-i NAME`: a path if it has a slash, else NAME.json in one of the directories.
// kInvalid naming where it was looked for.
Result<std::string> FindInstanceFile(const std::string& name);

}  // namespace nrtd::runtime
