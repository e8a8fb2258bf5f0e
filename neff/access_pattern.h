// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "base/error.h"

namespace nrtd::neff {

inline constexpr size_t kMaxPatternDimensions = 4;  // of the format

// Which bytes of a variable one side of a DMA descriptor touches: a strided pattern of up to 4
// dimensions, innermost first. steps are bytes; sizes[0] is bytes, the other sizes are counts.
struct AccessPattern {
  uint32_t variable = 0;  // index into Subgraph::variables
  uint64_t offset = 0;    // bytes
  std::vector<int64_t> steps;
  std::vector<uint64_t> sizes;

  bool operator==(const AccessPattern&) const = default;

  // `bytes` bytes in a row.
  static AccessPattern Contiguous(uint32_t variable, uint64_t offset, uint64_t bytes) {
    return {variable, offset, {1}, {bytes}};
  }
};

// [begin, end) holds every byte that the pattern touches.
struct Extent {
  uint64_t begin = 0;
  uint64_t end = 0;
};

// kInvalid: no or more than 4 dimensions, steps and sizes of different length, a size of 0, an
// address below the variable's start, or arithmetic that overflows.
Result<Extent> ExtentOf(const AccessPattern& pattern);

// Product of the sizes. kInvalid if it overflows.
Result<uint64_t> BytesMoved(const AccessPattern& pattern);

}  // namespace nrtd::neff
