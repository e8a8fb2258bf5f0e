// SPDX-License-Identifier: Apache-2.0
#include "base/heap.h"

#include <algorithm>
#include <thread>

#include <malloc.h>

namespace nrtd {

void LimitArenas() {
  const unsigned processors = std::thread::hardware_concurrency();
  (void)::mallopt(M_ARENA_MAX, std::clamp(static_cast<int>(processors), 1, kMostArenas));
}

void ReturnFreeMemory() {
  (void)::malloc_trim(0);
}

}  // namespace nrtd
