// SPDX-License-Identifier: Apache-2.0
#include "neff/access_pattern.h"

#include <limits>

#include <gtest/gtest.h>

#include "test/neff/matchers.h"

namespace nrtd::neff {
namespace {

constexpr int64_t kMaxStep = std::numeric_limits<int64_t>::max();
constexpr int64_t kMinStep = std::numeric_limits<int64_t>::min();
constexpr uint64_t kMaxSize = std::numeric_limits<uint64_t>::max();

TEST(AccessPattern, OfOneDimensionCoversItsBytes) {
  const auto extent = ExtentOf(AccessPattern::Contiguous(0, 10, 6));
  ASSERT_THAT(extent, Succeeds());
  EXPECT_EQ(extent->begin, 10u);
  EXPECT_EQ(extent->end, 16u);
}

TEST(AccessPattern, OfFourDimensionsReachesItsLastByte) {
  const AccessPattern pattern{0, 5, {1, 16, 64, 1000}, {8, 2, 3, 4}};
  const auto extent = ExtentOf(pattern);
  ASSERT_THAT(extent, Succeeds());
  EXPECT_EQ(extent->begin, 5u);
  EXPECT_EQ(extent->end, 5u + 7 + 16 + 128 + 3000 + 1);
  EXPECT_EQ(BytesMoved(pattern).value(), 8u * 2 * 3 * 4);
}

TEST(AccessPattern, OfStepZeroReadsOneRowAgain) {
  const auto extent = ExtentOf({0, 0, {1, 0}, {8, 100}});
  ASSERT_THAT(extent, Succeeds());
  EXPECT_EQ(extent->end, 8u);
}

TEST(AccessPattern, MayRunBackwardsInsideItsVariable) {
  const auto extent = ExtentOf({0, 30, {1, -10}, {4, 4}});
  ASSERT_THAT(extent, Succeeds());
  EXPECT_EQ(extent->begin, 0u);
  EXPECT_EQ(extent->end, 34u);
  EXPECT_THAT(ExtentOf({0, 29, {1, -10}, {4, 4}}), FailsWith(Nerr::kInvalid, "reaches byte -1"));
}

TEST(AccessPattern, NeedsOneToFourDimensionsOfSteps) {
  EXPECT_THAT(ExtentOf({0, 0, {}, {}}), FailsWith(Nerr::kInvalid, "0 dimensions"));
  EXPECT_THAT(ExtentOf({0, 0, {1, 1, 1, 1, 1}, {1, 1, 1, 1, 1}}),
              FailsWith(Nerr::kInvalid, "5 dimensions"));
  EXPECT_THAT(ExtentOf({0, 0, {1}, {1, 1}}), FailsWith(Nerr::kInvalid, "1 steps for 2 sizes"));
}

TEST(AccessPattern, NeedsSizesAboveZero) {
  EXPECT_THAT(ExtentOf({0, 0, {1, 4}, {4, 0}}), FailsWith(Nerr::kInvalid, "size of 0"));
}

TEST(AccessPattern, ThatOverflowsIsRefused) {
  const AccessPattern patterns[] = {
      {0, kMaxSize, {1}, {1}},
      {0, 0, {1}, {kMaxSize}},
      {0, 0, {kMaxStep}, {3}},
      {0, 1, {kMaxStep}, {2}},
      {0, 0, {kMinStep}, {3}},
      {0, 0, {kMinStep, -1}, {2, 2}},
      {0, 0, {kMaxStep, 1}, {2, 2}},
      {0, uint64_t{1} << 63, {1}, {1}},
      {0, 0, {1, 1}, {1, uint64_t{1} << 63}},
  };
  for (const AccessPattern& pattern : patterns)
    EXPECT_THAT(ExtentOf(pattern), FailsWith(Nerr::kInvalid, "overflow"));
  EXPECT_THAT(BytesMoved({0, 0, {0, 0}, {uint64_t{1} << 32, uint64_t{1} << 32}}),
              FailsWith(Nerr::kInvalid, "overflow"));
}

TEST(AccessPattern, MayEndAtTheLastByteThatHasAnAddress) {
  const auto extent = ExtentOf({0, 0, {kMaxStep}, {2}});
  ASSERT_THAT(extent, Succeeds());
  EXPECT_EQ(extent->end, uint64_t{1} << 63);
  EXPECT_THAT(ExtentOf({0, 0, {kMinStep}, {2}}), FailsWith(Nerr::kInvalid, "reaches byte -"));
}

}  // namespace
}  // namespace nrtd::neff
