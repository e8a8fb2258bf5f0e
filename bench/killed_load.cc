// SPDX-License-Identifier: Apache-2.0
//
// Kills clients with SIGKILL in the middle of loads, each at a moment of its own, and says how soon
// the daemon has freed all that they had: until it lists no group and has no more resident memory
// than after a load and an unload, but for a tenth of what a loaded network takes, asked every
// millisecond through a connection that stays. The daemon reclaims on disconnect and caches no
// model, or there is no middle.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

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
  if (error != 0) return Fail(Nerr::kFail, "cannot run {}: {}", arguments.cli, ErrnoText(error));
  return pid;
}

using Clock = std::chrono::steady_clock;

double MillisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// What a daemon has for its clients.
class Watched {
 public:
  // Loads the network and unloads it again: a first load leaves something behind.
  static Result<Watched> Create(client::Daemon daemon, const Arguments& arguments) {
    client::LoadOptions options;
    options.neff_path = arguments.neff;
    options.by_path = true;
    NRTD_ASSIGN(const uint32_t network, daemon.Load(options));
    NRTD_ASSIGN(const double loaded_mib, ResidentMib(arguments.pid));
    NRTD_TRY(daemon.Unload(network));
    NRTD_ASSIGN(const double idle_mib, ResidentMib(arguments.pid));
    return Watched(std::move(daemon), arguments.pid, idle_mib + (loaded_mib - idle_mib) / 10);
  }

  Result<bool> IsFree() {
    NRTD_ASSIGN(const nrt::out_list_egs groups, daemon_.ListGroups());
    NRTD_ASSIGN(const double resident_mib, ResidentMib(pid_));
    return groups.eg_info().empty() && resident_mib <= idle_mib_;
  }

  Result<void> AwaitFree() {
    constexpr double kPatienceMs = 60'000;
    const auto start = Clock::now();
    while (true) {
      NRTD_ASSIGN(const bool free, IsFree());
      if (free) return {};
      if (MillisecondsSince(start) > kPatienceMs)
        return Fail(Nerr::kTimeout, "the daemon still holds what a killed client had");
      // Asking without a pause would take a CPU from those who free.
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

 private:
  Watched(client::Daemon daemon, int pid, double idle_mib)
      : daemon_(std::move(daemon)), pid_(pid), idle_mib_(idle_mib) {}
  client::Daemon daemon_;
  int pid_;
  double idle_mib_;  // and what may be more
};

// In milliseconds.
struct Times {
  std::vector<double> since_signal;
  std::vector<double> since_end;  // the system has closed the client's connection and reaped it
};

// The client has ended by itself: loaded, or failed.
Result<void> CheckLoaded(int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return Fail(Nerr::kFail, "a load failed before it was killed; try it with neuron-cli load");
}

Result<Times> KillLoads(const Arguments& arguments) {
  NRTD_ASSIGN(const std::string address, client::ResolveAddress(arguments.address));
  NRTD_ASSIGN(client::Daemon daemon, client::Daemon::Connect(address));
  NRTD_ASSIGN(Watched watched, Watched::Create(std::move(daemon), arguments));
  std::mt19937 random(1);
  std::uniform_real_distribution<double> moment(0, arguments.middle_ms);
  constexpr unsigned kTriesForEach = 10;
  Times result;
  for (unsigned tries = 0; result.since_end.size() < arguments.kills; ++tries) {
    if (tries == kTriesForEach * arguments.kills)
      return Fail(Nerr::kFail, "hardly a load takes as long as --middle says: make it less");
    NRTD_TRY(watched.AwaitFree());
    NRTD_ASSIGN(const pid_t client, StartLoad(arguments, address));
    std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(moment(random)));
    int status = 0;
    NRTD_ASSIGN(const bool not_begun, watched.IsFree());
    if (::waitpid(client, &status, WNOHANG) == client) {
      NRTD_TRY(CheckLoaded(status));
      continue;
    }
    const auto signalled = Clock::now();
    ::kill(client, SIGKILL);
    ::waitpid(client, nullptr, 0);
    const auto ended = Clock::now();
    NRTD_TRY(watched.AwaitFree());
    if (not_begun) continue;
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
  CommandLine app("How soon a daemon is free of clients that are killed while they load",
                  "killed-load");
  Arguments arguments;
  app.AddOption("-a,--address", &arguments.address, "The daemon's, as unix:/path");
  app.AddOption("--pid", &arguments.pid, "The daemon's").Required();
  app.AddOption("--cli", &arguments.cli, "The neuron-cli that loads").ShowDefault();
  app.AddOption("--kills", &arguments.kills, "How many").Positive().ShowDefault();
  app.AddOption("--middle", &arguments.middle_ms,
                "Kill at most this many milliseconds after the client starts")
      .Positive()
      .ShowDefault();
  app.AddOption("neff", &arguments.neff, "A compiled network that takes longer to load").Required();
  if (const auto exit_code = app.Parse(argc, argv)) return *exit_code;
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
