// SPDX-License-Identifier: Apache-2.0
#include <csignal>
#include <cstdio>
#include <ctime>
#include <optional>

#include "base/end_signals.h"
#include "tools/client/address.h"
#include "tools/client/tool.h"
#include "tools/neuron_top/snapshot.h"

namespace nrtd::top {
namespace {

// Long enough for a busy core to show, short enough for a person who asked for one look.
constexpr double kOnceInterval = 0.1;
constexpr double kInterval = 1;

struct Arguments {
  std::string address;
  std::optional<double> interval_s;
  bool once = false;
  bool json = false;
};

// False if a signal asked to stop.
bool Sleep(double seconds, const sigset_t& signals) {
  const auto whole = static_cast<time_t>(seconds);
  const timespec time{whole, static_cast<long>((seconds - static_cast<double>(whole)) * 1e9)};
  return sigtimedwait(&signals, nullptr, &time) < 0;
}

std::string LocalTime() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &parts)};
}

void Show(const Arguments& arguments, const Sample& before, const Sample& after) {
  const auto utilization = Utilization(before, after);
  if (arguments.json) {
    const auto json = SnapshotJson(after, utilization, LocalTime());
    fmt::print("{}", arguments.once ? client::JsonText(json) : client::JsonLine(json));
  } else {
    constexpr std::string_view kClearScreen = "\x1b[H\x1b[2J";
    fmt::print("{}{}", arguments.once ? "" : kClearScreen,
               SnapshotText(after, utilization, LocalTime()));
  }
  std::fflush(stdout);
}

Result<void> Run(const Arguments& arguments) {
  const sigset_t signals = BlockEndSignals();

  NRTD_ASSIGN(const std::string address, client::ResolveAddress(arguments.address));
  NRTD_ASSIGN(client::Daemon daemon, client::Daemon::Connect(address));
  SteadyClock clock;
  const double interval = arguments.interval_s.value_or(arguments.once ? kOnceInterval : kInterval);
  NRTD_ASSIGN(Sample before, TakeSample(daemon, clock));
  while (Sleep(interval, signals)) {
    NRTD_ASSIGN(Sample after, TakeSample(daemon, clock));
    Show(arguments, before, after);
    if (arguments.once) break;
    before = std::move(after);
  }
  return {};
}

}  // namespace
}  // namespace nrtd::top

int main(int argc, char** argv) {
  nrtd::CommandLine app(
      "Shows how busy the NeuronCores of a neuron-rtd daemon are, and with which models.",
      "neuron-top");
  nrtd::top::Arguments arguments;
  nrtd::client::AddAddressOption(app, arguments.address);
  app.AddOption("-i,--interval", &arguments.interval_s,
                "Seconds between two samples [1, with --once 0.1]")
      .Range(0.01, 3600.0);
  app.AddFlag("--once", &arguments.once, "Print one snapshot and exit");
  app.AddFlag("--json", &arguments.json, "Print JSON; without --once a line for each interval");
  return nrtd::client::RunTool(app, argc, argv, [&] { return nrtd::top::Run(arguments); });
}
