// SPDX-License-Identifier: Apache-2.0
#include "base/sizes.h"

#include <limits>

#include <gtest/gtest.h>

namespace nrtd {
namespace {

constexpr uint64_t kTop = std::numeric_limits<uint64_t>::max();

TEST(Sizes, PowersOfTwo) {
  EXPECT_FALSE(IsPowerOfTwo(0));
  EXPECT_TRUE(IsPowerOfTwo(1));
  EXPECT_FALSE(IsPowerOfTwo(3));
  EXPECT_TRUE(IsPowerOfTwo(uint64_t{1} << 63));
  EXPECT_FALSE(IsPowerOfTwo(kTop));
}

TEST(Sizes, AlignUp) {
  EXPECT_EQ(AlignUp(0, 64), 0);
  EXPECT_EQ(AlignUp(1, 64), 64);
  EXPECT_EQ(AlignUp(64, 64), 64);
  EXPECT_EQ(AlignUp(65, 1), 65);
}

TEST(Sizes, AdditionOverflowsToNothing) {
  EXPECT_EQ(CheckedAdd(kTop - 1, uint64_t{1}), kTop);
  EXPECT_EQ(CheckedAdd(kTop, uint64_t{1}), std::nullopt);
  EXPECT_EQ(CheckedAdd(std::numeric_limits<int64_t>::min(), int64_t{-1}), std::nullopt);
  EXPECT_EQ(CheckedAdd(uint8_t{200}, uint8_t{56}), std::nullopt);
}

TEST(Sizes, MultiplicationOverflowsToNothing) {
  EXPECT_EQ(CheckedMultiply(kTop, uint64_t{1}), kTop);
  EXPECT_EQ(CheckedMultiply(kTop, uint64_t{0}), 0);
  EXPECT_EQ(CheckedMultiply(uint64_t{1} << 32, uint64_t{1} << 32), std::nullopt);
  EXPECT_EQ(CheckedMultiply(std::numeric_limits<int64_t>::min(), int64_t{-1}), std::nullopt);
}

TEST(Sizes, RangesFitWithoutOverflowing) {
  EXPECT_TRUE(RangeFits(0, 0, 0));
  EXPECT_TRUE(RangeFits(10, 0, 10));
  EXPECT_TRUE(RangeFits(0, kTop, kTop));
  EXPECT_FALSE(RangeFits(11, 0, 10));
  EXPECT_FALSE(RangeFits(1, 10, 10));
  EXPECT_FALSE(RangeFits(1, kTop, 10));
  EXPECT_FALSE(RangeFits(kTop, kTop, 10));
}

TEST(Sizes, HumanBytes) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(1023), "1023 B");
  EXPECT_EQ(HumanBytes(1536), "1.5 KiB");
  EXPECT_EQ(HumanBytes(256 * kMiB), "256.0 MiB");
  EXPECT_EQ(HumanBytes(8 * kGiB), "8.0 GiB");
}

}  // namespace
}  // namespace nrtd
