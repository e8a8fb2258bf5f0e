// SPDX-License-Identifier: Apache-2.0
#include "bench/reload.h"

#include <algorithm>
#include <chrono>

namespace nrtd::bench {
namespace {

constexpr int kAgain = 5;

double Median(std::vector<double> values) {
  std::ranges::sort(values);
  return values.empty() ? 0 : values[values.size() / 2];
}

// The time of the load; the network is unloaded again.
Result<double> LoadMs(client::Daemon& daemon, const client::LoadOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  NRTD_ASSIGN(const uint32_t network, daemon.Load(options));
  const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - start;
  NRTD_TRY(daemon.Unload(network));
  return taken.count();
}

}  // namespace

Result<ReloadTimes> MeasureReload(client::Daemon& daemon, const std::vector<std::string>& neffs,
                                  bool by_path) {
  std::vector<double> first;
  std::vector<double> again;
  for (const std::string& neff : neffs) {
    client::LoadOptions options;
    options.neff_path = neff;
    options.by_path = by_path;
    NRTD_ASSIGN(const double cold, LoadMs(daemon, options));
    first.push_back(cold);
    for (int i = 0; i < kAgain; ++i) {
      NRTD_ASSIGN(const double warm, LoadMs(daemon, options));
      again.push_back(warm);
    }
  }
  return ReloadTimes{Median(first), Median(again)};
}

}  // namespace nrtd::bench
