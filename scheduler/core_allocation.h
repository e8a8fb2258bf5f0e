// SPDX-License-Identifier: Apache-2.0
//
// Which cores a new group gets: a pure function over a snapshot of the chain. Cores are numbered
// through the whole chain of devices (the "virtual NC" of the public contract), so a run of
// consecutive numbers is contiguous in the chain.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace nrtd::scheduler {

struct CoreRun {
  uint32_t first = 0;
  uint32_t count = 0;
  bool operator==(const CoreRun&) const = default;
};

// The longest run of free cores, the first of them if several are equally long; count 0 when all
// are taken.
CoreRun LargestFreeRun(const std::vector<bool>& taken);

// `count` >= 1 consecutive free cores out of the shortest run that holds them, so that long runs
// stay whole for large networks; nothing when no run does.
std::optional<CoreRun> ChooseCores(const std::vector<bool>& taken, uint32_t count);

uint32_t FreeCores(const std::vector<bool>& taken);

}  // namespace nrtd::scheduler
