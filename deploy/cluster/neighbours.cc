// SPDX-License-Identifier: Apache-2.0
#include "deploy/cluster/neighbours.h"

#include <optional>
#include <vector>

namespace nrtd::deploy {
namespace {

struct Run {
  uint32_t first;
  uint32_t length;
};

std::vector<Run> RunsOf(const std::set<uint32_t>& devices) {
  std::vector<Run> runs;
  for (const uint32_t device : devices) {
    if (runs.empty() || runs.back().first + runs.back().length != device)
      runs.push_back({device, 0});
    ++runs.back().length;
  }
  return runs;
}

}  // namespace

std::set<uint32_t> ChooseNeighbours(const std::set<uint32_t>& available,
                                    const std::set<uint32_t>& required, uint32_t count) {
  std::optional<uint32_t> best;
  uint32_t shortest = UINT32_MAX;
  for (const Run& run : RunsOf(available)) {
    if (run.length < count || run.length >= shortest) continue;
    for (uint32_t first = run.first; first + count <= run.first + run.length; ++first) {
      const bool has_all =
          required.empty() || (*required.begin() >= first && *required.rbegin() < first + count);
      if (!has_all) continue;
      best = first;
      shortest = run.length;
      break;
    }
  }
  std::set<uint32_t> chosen;
  if (best) {
    for (uint32_t i = 0; i < count; ++i) chosen.insert(*best + i);
    return chosen;
  }
  chosen = required;
  for (const uint32_t device : available) {
    if (chosen.size() >= count) break;
    chosen.insert(device);
  }
  return chosen;
}

uint32_t LengthOfRun(const std::set<uint32_t>& devices, uint32_t device) {
  for (const Run& run : RunsOf(devices))
    if (device >= run.first && device - run.first < run.length) return run.length;
  return 0;
}

}  // namespace nrtd::deploy
