// SPDX-License-Identifier: Apache-2.0
#include "base/dtype.h"

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

namespace nrtd {
namespace {

float FromBits(uint32_t bits) {
  return std::bit_cast<float>(bits);
}

TEST(DType, NamesAndNumbersGoBothWays) {
  int known = 0;
  for (int number = 0; number < 256; ++number) {
    const auto dtype = static_cast<DType>(number);
    if (DTypeSize(dtype) == 0) {
      EXPECT_EQ(DTypeName(dtype), "unknown");
      continue;
    }
    ++known;
    EXPECT_EQ(DTypeFromName(DTypeName(dtype)), dtype);
  }
  EXPECT_EQ(known, 13);
  EXPECT_EQ(DTypeFromName("float8"), std::nullopt);
  EXPECT_EQ(DTypeFromName(""), std::nullopt);
}

// Instructions hold these numbers, files of users hold these instructions.
TEST(DType, NumbersNeverChange) {
  EXPECT_EQ(static_cast<int>(*DTypeFromName("float32")), 1);
  EXPECT_EQ(static_cast<int>(*DTypeFromName("bfloat16")), 2);
  EXPECT_EQ(static_cast<int>(*DTypeFromName("float16")), 3);
  EXPECT_EQ(static_cast<int>(*DTypeFromName("int8")), 4);
  EXPECT_EQ(static_cast<int>(*DTypeFromName("uint8")), 5);
  EXPECT_EQ(static_cast<int>(*DTypeFromName("int16")), 6);
  EXPECT_EQ(static_cast<int>(*DTypeFromName("uint16")), 7);
  EXPECT_EQ(static_cast<int>(*DTypeFromName("int32")), 8);
  EXPECT_EQ(static_cast<int>(*DTypeFromName("uint32")), 9);
  EXPECT_EQ(static_cast<int>(*DTypeFromName("int64")), 10);
  EXPECT_EQ(static_cast<int>(*DTypeFromName("uint64")), 11);
  EXPECT_EQ(static_cast<int>(*DTypeFromName("bool")), 12);
  EXPECT_EQ(static_cast<int>(*DTypeFromName("float64")), 13);
}

TEST(DType, SizesAreThoseOfTheMachine) {
  EXPECT_EQ(DTypeSize(DType::kFloat32), sizeof(float));
  EXPECT_EQ(DTypeSize(DType::kBFloat16), 2);
  EXPECT_EQ(DTypeSize(DType::kFloat16), 2);
  EXPECT_EQ(DTypeSize(DType::kBool), 1);
  EXPECT_EQ(DTypeSize(DType::kFloat64), sizeof(double));
  EXPECT_EQ(DTypeSize(static_cast<DType>(0)), 0);
  EXPECT_EQ(DTypeSize(static_cast<DType>(14)), 0);
}

TEST(ElementCount, MultipliesAndRefusesWhatMakesNoSense) {
  EXPECT_EQ(ElementCount(Shape{}), 1);
  EXPECT_EQ(ElementCount(Shape{1, 28, 28}), 784);
  EXPECT_EQ(ElementCount(Shape{5, 0, 7}), 0);
  EXPECT_EQ(ElementCount(Shape{2, -1}), std::nullopt);
  EXPECT_EQ(ElementCount(Shape{int64_t{1} << 32, int64_t{1} << 31}), uint64_t{1} << 63);
  EXPECT_EQ(ElementCount(Shape{int64_t{1} << 32, int64_t{1} << 32}), std::nullopt);
}

TEST(ShapeText, IsInBrackets) {
  EXPECT_EQ(ShapeText(Shape{1, 28, 28}), "[1,28,28]");
  EXPECT_EQ(ShapeText(Shape{}), "[]");
}

TEST(BFloat16, EveryPatternSurvivesTheWayThere) {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const float value = BFloat16ToFloat(static_cast<uint16_t>(bits));
    const uint16_t back = FloatToBFloat16(value);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(BFloat16ToFloat(back)));
    } else {
      ASSERT_EQ(back, bits);
    }
  }
}

TEST(BFloat16, TiesGoToTheEvenNeighbour) {
  EXPECT_EQ(FloatToBFloat16(FromBits(0x3f808000)), 0x3f80);
  EXPECT_EQ(FloatToBFloat16(FromBits(0x3f818000)), 0x3f82);
  EXPECT_EQ(FloatToBFloat16(FromBits(0xbf808000)), 0xbf80);
  EXPECT_EQ(FloatToBFloat16(FromBits(0xbf818000)), 0xbf82);
}

TEST(BFloat16, OtherValuesGoToTheNearestNeighbour) {
  EXPECT_EQ(FloatToBFloat16(FromBits(0x3f807fff)), 0x3f80);
  EXPECT_EQ(FloatToBFloat16(FromBits(0x3f808001)), 0x3f81);
  EXPECT_EQ(FloatToBFloat16(FromBits(0x00008001)), 0x0001);  // subnormal
  EXPECT_EQ(FloatToBFloat16(-0.0F), 0x8000);
}

TEST(BFloat16, RoundingIsNeverFartherThanEitherNeighbour) {
  std::mt19937 random(3);
  for (int i = 0; i < 200'000; ++i) {
    const float value = FromBits(random());
    if (!std::isfinite(value)) continue;
    const uint16_t rounded = FloatToBFloat16(value);
    if (std::isinf(BFloat16ToFloat(rounded))) continue;
    const auto distance = [&](uint16_t bits) {
      return std::abs(static_cast<double>(BFloat16ToFloat(bits)) - static_cast<double>(value));
    };
    const auto truncated = static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
    ASSERT_LE(distance(rounded), distance(truncated));
    ASSERT_LE(distance(rounded), distance(static_cast<uint16_t>(truncated + 1)));
  }
}

TEST(BFloat16, NanStaysNanWhateverItsPayload) {
  for (const uint32_t bits : {0x7fc00000U, 0x7f800001U, 0x7fffffffU, 0xff800001U, 0xffffffffU}) {
    const uint16_t rounded = FloatToBFloat16(FromBits(bits));
    EXPECT_TRUE(std::isnan(BFloat16ToFloat(rounded))) << std::hex << bits;
    EXPECT_EQ(rounded >> 15, bits >> 31);
  }
}

TEST(BFloat16, InfinityStaysAndWhatIsTooLargeBecomesIt) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(FloatToBFloat16(kInfinity), 0x7f80);
  EXPECT_EQ(FloatToBFloat16(-kInfinity), 0xff80);
  EXPECT_EQ(FloatToBFloat16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(FloatToBFloat16(FromBits(0x7f7f7fff)), 0x7f7f);
}

}  // namespace
}  // namespace nrtd
