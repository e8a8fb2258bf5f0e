// SPDX-License-Identifier: Apache-2.0
#include "runtime/daemon/options.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iostream>
#include <map>

#include <grp.h>

#include "base/command_line.h"
#include "driver_shim/device_lock.h"
#include "runtime/service/version.h"

namespace nrtd::daemon {
namespace {

using runtime::Config;
using runtime::Isolation;

const std::map<std::string, Isolation>& IsolationNames() {
  static const std::map<std::string, Isolation> names = {{"none", Isolation::kNone},
                                                         {"session", Isolation::kSession}};
  return names;
}

Result<mode_t> Mode(const std::string& text) {
  mode_t mode = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
  if (text.empty() || error != std::errc() || *end != '\0' || mode > 0777)
    return Fail(Nerr::kInvalid, "socket mode '{}' is not 0 to 0777", text);
  return mode;
}

Result<gid_t> Group(const std::string& text) {
  gid_t gid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), gid);
  if (!text.empty() && error == std::errc() && *end == '\0') return gid;
  const struct group* const entry = ::getgrnam(text.c_str());
  if (entry == nullptr) return Fail(Nerr::kInvalid, "there is no group '{}'", text);
  return entry->gr_gid;
}

// 0 to 2 are syslog's and worse than anything that is logged.
LogLevel Level(uint32_t number) {
  return static_cast<LogLevel>(std::max(number, static_cast<uint32_t>(LogLevel::kError)));
}

// The command line as it was written; what is not there comes from the files.
struct Arguments {
  std::optional<std::string> address;
  std::optional<std::string> config;
  std::optional<std::string> instance;
  std::vector<std::string> bdfs;
  std::string visible_devices;
  std::string simulate;
  unsigned sim_threads = 1;
  std::string sim_pace = "none";
  std::optional<uint64_t> hugepages;
  bool allow_small_pages = false;
  std::optional<std::string> isolation;
  std::vector<uid_t> operator_uids;
  std::vector<gid_t> operator_gids;
  bool reclaim = false;
  std::optional<std::string> socket_mode;
  std::optional<std::string> socket_group;
  std::optional<std::string> lock_directory;
  std::optional<std::string> state_directory;
  std::optional<uint32_t> level;
  bool console = false;
  bool no_seccomp = false;
  std::vector<std::string> client_limits;
  std::vector<std::string> total_limits;
  std::optional<uint32_t> call_rate;
};

void Declare(CommandLine& app, Arguments& line) {
  app.AddOption("-g,--address", &line.address,
                "Where to listen: unix:/path or host:port [unix:/run/neuron.sock]");
  app.AddOption("-t,--device", &line.bdfs,
                "Use this Inferentia, by its PCI address (0000:00:1f.0); may be given again for "
                "its neighbours [all]");
  app.AddOption("-i,--instance", &line.instance,
                "One of several daemons: NAME.json in /opt/aws/neuron/bin or "
                "/opt/aws/neuron/config, or a path, says where it listens and its devices");
  app.AddOption("-c,--config", &line.config,
                "Configuration file [/opt/aws/neuron/config/neuron-rtd.config, if it exists]");
  app.AddOption("--visible-devices", &line.visible_devices,
                "Which of the machine's devices may be used: all, 0, or 2,3")
      .Environment("AWS_NEURON_VISIBLE_DEVICES");
  app.AddOption("--sim", &line.simulate,
                "Simulate the devices of an instance: inf1.xlarge, inf1.2xlarge, inf1.6xlarge or "
                "inf1.24xlarge")
      .Environment("NEURON_RTD_SIM");
  app.AddOption("--sim-threads", &line.sim_threads,
                "CPU threads on which each simulated core computes [1]")
      .Environment("NEURON_RTD_SIM_THREADS")
      .Range(1, 64);
  app.AddOption("--sim-pace", &line.sim_pace,
                "inf1: simulated cores take at least as long as a real Inferentia would at best; "
                "none: as fast as they can [none]")
      .Environment("NEURON_RTD_SIM_PACE")
      .OneOf({"none", "inf1"});
  app.AddOption("--hugepages", &line.hugepages, "Huge pages of 2 MiB to take for each device [128]")
      .Range(8, 65536);
  app.AddFlag("--allow-small-pages", &line.allow_small_pages,
              "Start without huge pages (simulated devices only; slower)");
  app.AddOption("--isolation", &line.isolation,
                "none: any client may use any handle, as in 1.x; session: only the process that "
                "made it [none]")
      .OneOf(IsolationNames());
  app.AddOption("--operator-uid", &line.operator_uids,
                "With --isolation session: users that may use everybody's handles");
  app.AddOption("--operator-gid", &line.operator_gids, "The same for groups");
  app.AddFlag("--reclaim-on-disconnect", &line.reclaim,
              "Free what a client made without a session when its connection ends");
  app.AddOption("--socket-mode", &line.socket_mode,
                "Who may connect to the unix socket, as chmod takes it [0666]");
  app.AddOption("--socket-group", &line.socket_group,
                "The group that the unix socket belongs to: a name or a number");
  app.AddOption("--lock-directory", &line.lock_directory,
                "Where devices are locked against other daemons [/run/infa; simulated devices are "
                "not locked]");
  app.AddOption("--state-directory", &line.state_directory,
                "Where the daemon keeps which ids it has handed out, so that none repeats after a "
                "restart; a directory of its own [none]");
  app.AddOption("--client-limit", &line.client_limits,
                "NAME=AMOUNT: how much of it a client may make the daemon hold, such as "
                "mappings=64 or network-bytes=2GiB (docs/limits.md); may be given again");
  app.AddOption("--total-limit", &line.total_limits, "The same for all clients together");
  app.AddOption("--call-rate", &line.call_rate,
                "How many calls a second that are no inferences a client may make on average, with "
                "bursts of five times as many; others wait. 0: any number [100]")
      .Range(0, static_cast<int>(runtime::kMaxCallRate));
  app.AddFlag("--no-seccomp", &line.no_seccomp, "Do not restrict the daemon's own system calls");
  app.AddOption("-l,--log-level", &line.level,
                "0 to 3 errors, 4 warnings, 5 what happened, 6 debug, 7 trace [5]")
      .Range(0, 7);
  app.AddFlag("-x,--log-console", &line.console,
              "Log to the console (stderr) as well as to syslog");
  app.AddVersion("-v,--version", std::string(service::kVersionText));
}

template <typename T, typename U>
void Override(T& target, const std::optional<U>& value) {
  if (value) target = *value;
}

Result<Config> ReadConfigOf(const Arguments& line, std::string* path) {
  *path = line.config.value_or("");
  std::error_code ignored;
  if (!line.config && std::filesystem::exists(runtime::kDefaultConfigFile, ignored))
    *path = runtime::kDefaultConfigFile;
  return path->empty() ? Result<Config>(Config{}) : runtime::ReadConfig(*path);
}

Result<void> ApplyAccess(const Arguments& line, const Config& config,
                         service::ServerOptions& server) {
  runtime::AccessRules& access = server.access;
  access.isolation =
      IsolationNames().at(line.isolation.value_or(config.isolation.value_or("none")));
  access.operator_uids.assign(config.operator_uids.begin(), config.operator_uids.end());
  access.operator_gids.assign(config.operator_gids.begin(), config.operator_gids.end());
  if (!line.operator_uids.empty()) access.operator_uids = line.operator_uids;
  if (!line.operator_gids.empty()) access.operator_gids = line.operator_gids;
  access.reclaim_on_disconnect = line.reclaim || config.reclaim_on_disconnect.value_or(false);
  if (const auto mode = line.socket_mode ? line.socket_mode : config.socket_mode) {
    NRTD_ASSIGN(server.socket_mode, Mode(*mode));
  }
  if (const auto group = line.socket_group ? line.socket_group : config.socket_group) {
    NRTD_ASSIGN(server.socket_group, Group(*group));
  }
  return {};
}

// The file's, then the command line's, so that the latter have the last word.
std::vector<std::string> PreferLine(const std::vector<std::string>& line,
                                    std::vector<std::string> config) {
  config.insert(config.end(), line.begin(), line.end());
  return config;
}

Result<void> CheckLimits(const std::vector<std::string>& assignments) {
  runtime::Limits ignored = runtime::NoLimits();
  for (const std::string& assignment : assignments)
    NRTD_TRY(runtime::SetLimit(ignored.total, assignment));
  return {};
}

runtime::LoadDefaults DefaultsOf(const Config& config) {
  runtime::LoadDefaults defaults;
  Override(defaults.cached_neffs, config.model_cache_count);
  Override(defaults.ninfer, config.default_ninfer);
  Override(defaults.timeout_seconds, config.default_timeout);
  return defaults;
}

Result<Options> Combine(const Arguments& line) {
  Options options;
  NRTD_ASSIGN(const Config config, ReadConfigOf(line, &options.config_file));
  PlatformOptions& platform = options.machine.platform;
  if (line.instance) {
    NRTD_ASSIGN(const std::string path, runtime::FindInstanceFile(*line.instance));
    NRTD_ASSIGN(const runtime::Instance instance, runtime::ReadInstance(path));
    options.server.address = instance.server_port;
    platform.selection.numbers = instance.devices;
  }
  Override(options.server.address, line.address);
  platform.simulate = line.simulate;
  platform.sim_threads = line.sim_threads;
  platform.sim_paced = line.sim_pace == "inf1";
  platform.selection.bdfs = line.bdfs;
  platform.selection.visible = line.visible_devices;
  platform.lock_directory = line.simulate.empty() ? kDeviceLockDirectory : "";
  Override(platform.lock_directory, config.lock_directory);
  Override(platform.lock_directory, line.lock_directory);
  Override(options.state_directory, config.state_directory);
  Override(options.state_directory, line.state_directory);
  Override(options.machine.pages_per_device, config.hugepages);
  Override(options.machine.pages_per_device, line.hugepages);
  options.machine.allow_small_pages = line.allow_small_pages;
  NRTD_TRY(ApplyAccess(line, config, options.server));
  options.defaults = DefaultsOf(config);
  NRTD_TRY(
      CheckLimits(options.client_limits = PreferLine(line.client_limits, config.client_limits)));
  NRTD_TRY(CheckLimits(options.total_limits = PreferLine(line.total_limits, config.total_limits)));
  Override(options.server.call_rate, config.call_rate);
  Override(options.server.call_rate, line.call_rate);
  const auto level = line.level ? line.level : config.log_level;
  if (level) options.log.level = Level(*level);
  options.log_level_given = line.level.has_value();
  options.log.console = line.console;
  options.seccomp = !line.no_seccomp;
  return options;
}

}  // namespace

Parsed ParseOptions(int argc, char** argv) {
  Parsed parsed;
  Arguments line;
  CommandLine app(
      "neuron-rtd: the open Neuron Runtime 1.x daemon. Owns Inferentia devices, loads compiled "
      "networks (NEFF) and serves inference over gRPC.",
      "neuron-rtd");
  Declare(app, line);
  const CommandLine& doctor = app.AddCommand(
      "doctor", "Check what a daemon with these options needs, and say what mends it");
  if (const auto exit_code = app.Parse(argc, argv)) {
    parsed.exit_code = *exit_code;
    return parsed;
  }
  auto options = Combine(line);
  if (!options) {
    std::cerr << "neuron-rtd: " << options.error().text << '\n';
    parsed.exit_code = 1;
    return parsed;
  }
  parsed.options = std::move(*options);
  parsed.action = doctor.is_given() ? Parsed::Action::kDoctor : Parsed::Action::kServe;
  return parsed;
}

Result<runtime::LoadDefaults> Reload(const Options& options) {
  if (options.config_file.empty())
    return Fail(Nerr::kInvalid, "there is no configuration file to read again");
  NRTD_ASSIGN(const Config config, runtime::ReadConfig(options.config_file));
  if (config.log_level && !options.log_level_given) SetLogLevel(Level(*config.log_level));
  return DefaultsOf(config);
}

}  // namespace nrtd::daemon
