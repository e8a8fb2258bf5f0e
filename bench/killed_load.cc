// SPDX-License-Identifier: Apache-2.0
//
// Kills clients with SIGKILL in the middle of loads, each at a moment of its own, and says how soon
// the daemon has freed all that they had: until it lists no group and has no more resident memory
// than before, asked every millisecond through a connection that stays. The daemon reclaims on
// disconnect and caches no model, or there is no middle.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <random>
#include <thread>

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/idle_process.h"
#include "tools/client/address.h"
#include "tools/client/daemon.h"
#include "tools/client/tool.h"

namespace nrtd::bench {
namespace {

struct Arguments {
  std::string address;
  std::string cli = "neuron-cli";
  std::string neff;
  unsigned kills = 20;
  double middle_ms = 1000;
  int pid = 0;
};

// `neuron-cli load` of the file, by its path.
Result<pid_t> StartLoad(const Arguments& arguments, const std::string& address) {
  std::vector<std::string> words = {
      arguments.cli, "load", "--address",   address, "--enable-direct-file-load",
      "--timeout",   "120",  arguments.neff};
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t quiet;
  posix_spawn_file_actions_init(&quiet);
  posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&quiet, STDOUT_FILENO, STDERR_FILENO);
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, pointers[0], &quiet, nullptr, pointers.data(), ::environ);
  posix_spawn_file_actions_destroy(&quiet);
  if (error != 0) return Fail(Nerr::kFail, "cannot run {}: {}", arguments.cli, strerror(error));
  return pid;
}

using Clock = std::chrono::steady_clock;

double MillisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// Returns when the daemon lists no group and has no more than `idle_mib` resident.
Result<void> AwaitFree(client::Daemon& daemon, int pid, double idle_mib) {
  constexpr double kPatienceMs = 60'000;
  const auto start = Clock::now();
  while (true) {
    NRTD_ASSIGN(const nrt::out_list_egs groups, daemon.ListGroups());
    NRTD_ASSIGN(const double resident_mib, ResidentMib(pid));
    if (groups.eg_info().empty() && resident_mib <= idle_mib) return {};
    if (MillisecondsSince(start) > kPatienceMs) {
      return Fail(Nerr::kTimeout,
                  "a killed client's: {} groups, {:.0f} MiB resident, {:.0f} before",
                  groups.eg_info_size(), resident_mib, idle_mib);
    }
    // Asking without a pause would take a CPU from those who free.
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// In milliseconds.
struct Times {
  std::vector<double> since_signal;
  std::vector<double> since_end;  // the system has closed the client's connection and reaped it
};

Result<Times> KillLoads(const Arguments& arguments) {
  NRTD_ASSIGN(const std::string address, client::ResolveAddress(arguments.address));
  NRTD_ASSIGN(client::Daemon daemon, client::Daemon::Connect(address));
  std::mt19937 random(1);
  std::uniform_real_distribution<double> moment(0, arguments.middle_ms);
  // What the first load of a daemon leaves behind, and what the allocator keeps for each thread.
  constexpr double kKeptMib = 64;
  NRTD_ASSIGN(double idle_mib, ResidentMib(arguments.pid));
  idle_mib += kKeptMib;
  Times result;
  while (result.since_end.size() < arguments.kills) {
    NRTD_ASSIGN(const pid_t client, StartLoad(arguments, address));
    std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(moment(random)));
    if (::waitpid(client, nullptr, WNOHANG) == client) {
      NRTD_TRY(AwaitFree(daemon, arguments.pid, idle_mib));
      continue;
    }
    const auto signalled = Clock::now();
    ::kill(client, SIGKILL);
    ::waitpid(client, nullptr, 0);
    const auto ended = Clock::now();
    NRTD_TRY(AwaitFree(daemon, arguments.pid, idle_mib));
    result.since_signal.push_back(MillisecondsSince(signalled));
    result.since_end.push_back(MillisecondsSince(ended));
  }
  return result;
}

void Print(const char* since, std::vector<double> taken) {
  std::ranges::sort(taken);
  fmt::print("  since {}: {:.0f} ms (median), {:.0f} ms (worst)\n", since, taken[taken.size() / 2],
             taken.back());
}

int Main(int argc, char** argv) {
  CLI::App app("How soon a daemon is free of clients that are killed while they load",
               "killed-load");
  Arguments arguments;
  app.add_option("-a,--address", arguments.address, "The daemon's, as unix:/path");
  app.add_option("--pid", arguments.pid, "The daemon's")->required();
  app.add_option("--cli", arguments.cli, "The neuron-cli that loads")->capture_default_str();
  app.add_option("--kills", arguments.kills, "How many")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--middle", arguments.middle_ms,
                 "Kill at most so many milliseconds behind the client's start")
      ->capture_default_str();
  app.add_option("neff", arguments.neff, "A compiled network that takes longer to load")
      ->required();
  CLI11_PARSE(app, argc, argv);
  const auto times = KillLoads(arguments);
  if (!times) {
    fmt::print(stderr, "killed-load: {}\n", times.error().text);
    return 1;
  }
  fmt::print("{} clients killed in the middle of a load, everything free\n", arguments.kills);
  Print("the connection broke", times->since_end);
  Print("the signal", times->since_signal);
  return 0;
}

}  // namespace
}  // namespace nrtd::bench

int main(int argc, char** argv) {
  return nrtd::bench::Main(argc, argv);
}
