// SPDX-License-Identifier: Apache-2.0
#include "neff/access_pattern.h"

#include <limits>

#include "base/sizes.h"

namespace nrtd::neff {
namespace {

tl::unexpected<Error> Overflow() {
  return Fail(Nerr::kInvalid, "the access pattern's steps and sizes overflow 64 bits");
}

}  // namespace

Result<Extent> ExtentOf(const AccessPattern& pattern) {
  if (pattern.sizes.empty() || pattern.sizes.size() > kMaxPatternDimensions) {
    return Fail(Nerr::kInvalid, "the access pattern has {} dimensions, expected 1 to {}",
                pattern.sizes.size(), kMaxPatternDimensions);
  }
  if (pattern.steps.size() != pattern.sizes.size()) {
    return Fail(Nerr::kInvalid, "the access pattern has {} steps for {} sizes",
                pattern.steps.size(), pattern.sizes.size());
  }
  constexpr auto kMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  if (pattern.offset > kMax) return Overflow();
  auto lowest = static_cast<int64_t>(pattern.offset);
  int64_t highest = lowest;
  for (size_t i = 0; i < pattern.sizes.size(); ++i) {
    if (pattern.sizes[i] == 0) return Fail(Nerr::kInvalid, "the access pattern has a size of 0");
    if (pattern.sizes[i] > kMax) return Overflow();
    const auto reach =
        CheckedMultiply(pattern.steps[i], static_cast<int64_t>(pattern.sizes[i] - 1));
    if (!reach) return Overflow();
    int64_t& end = *reach < 0 ? lowest : highest;
    const auto moved = CheckedAdd(end, *reach);
    if (!moved) return Overflow();
    end = *moved;
  }
  if (lowest < 0) {
    return Fail(Nerr::kInvalid, "the access pattern reaches byte {} of its variable", lowest);
  }
  return Extent{static_cast<uint64_t>(lowest), static_cast<uint64_t>(highest) + 1};
}

Result<uint64_t> BytesMoved(const AccessPattern& pattern) {
  uint64_t bytes = 1;
  for (const uint64_t size : pattern.sizes) {
    const auto product = CheckedMultiply(bytes, size);
    if (!product) return Overflow();
    bytes = *product;
  }
  return bytes;
}

}  // namespace nrtd::neff
