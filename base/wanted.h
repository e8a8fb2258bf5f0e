// SPDX-License-Identifier: Apache-2.0
//
// Long work that may turn out to be for nobody: its client has gone while it was being done.
#pragma once

#include <cstdint>
#include <stop_token>

#include "base/error.h"
#include "base/sizes.h"

namespace nrtd {

// Bytes that are copied, unpacked or hashed between two looks: a millisecond, or ten where a
// virtual machine has to be given the memory first.
inline constexpr uint64_t kWantedGrain = 2 * kMiB;

// kInvalidHandle when the stop was requested. A token without a source is always wanted.
inline Result<void> CheckWanted(const std::stop_token& stop) {
  if (!stop.stop_requested()) return {};
  return Fail(Nerr::kInvalidHandle, "given up: whoever asked for this has gone");
}

}  // namespace nrtd
