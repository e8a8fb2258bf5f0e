// SPDX-License-Identifier: Apache-2.0
#include "scheduler/core_allocation.h"

#include <algorithm>

namespace nrtd::scheduler {
namespace {

std::vector<CoreRun> FreeRuns(const std::vector<bool>& taken) {
  std::vector<CoreRun> runs;
  for (uint32_t i = 0; i < taken.size(); ++i) {
    if (taken[i]) continue;
    if (runs.empty() || runs.back().first + runs.back().count != i) runs.push_back({i, 0});
    ++runs.back().count;
  }
  return runs;
}

}  // namespace

CoreRun LargestFreeRun(const std::vector<bool>& taken) {
  CoreRun best;
  for (const CoreRun& run : FreeRuns(taken)) {
    if (run.count > best.count) best = run;
  }
  return best;
}

std::optional<CoreRun> ChooseCores(const std::vector<bool>& taken, uint32_t count) {
  std::optional<CoreRun> best;
  for (const CoreRun& run : FreeRuns(taken)) {
    if (run.count >= count && (!best || run.count < best->count)) best = run;
  }
  if (best) best->count = count;
  return best;
}

uint32_t FreeCores(const std::vector<bool>& taken) {
  return static_cast<uint32_t>(std::count(taken.begin(), taken.end(), false));
}

}  // namespace nrtd::scheduler
