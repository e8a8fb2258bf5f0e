// SPDX-License-Identifier: Apache-2.0
//
// Ways in which a simulated core can be told to fail, so that drivers and clients can be tested
// against them. Set from any thread; each takes effect at the core's next Poll().
#pragma once

#include <atomic>
#include <cstdint>

namespace nrtd::sim {

struct Faults {
  std::atomic<bool> hang{false};                // executions never end, until Reset()
  std::atomic<uint32_t> lose_notifications{0};  // so many ends of executions are not reported
  std::atomic<uint32_t> corrupt_outputs{0};  // so many executions leave NaN in their first output
};

}  // namespace nrtd::sim
