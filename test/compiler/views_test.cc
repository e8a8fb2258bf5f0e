// SPDX-License-Identifier: Apache-2.0
#include "compiler/lower/views.h"

#include <gtest/gtest.h>

namespace nrtd::compiler {
namespace {

TEST(JoinDimensions, JoinsWhatAllPartsHaveWhole) {
  const Joined joined = JoinDimensions({2, 3, 4}, {{2, 3, 4}});
  EXPECT_EQ(joined.full, Shape{24});
  EXPECT_EQ(joined.parts[0], Shape{24});
}

TEST(JoinDimensions, KeepsApartWhereOnePartRepeats) {
  const Joined joined = JoinDimensions({2, 3, 4, 5}, {{2, 3, 4, 5}, {1, 1, 4, 5}});
  EXPECT_EQ(joined.full, (Shape{6, 20}));
  EXPECT_EQ(joined.parts[1], (Shape{1, 20}));
}

TEST(JoinDimensions, AlternatingRepetitionStays) {
  const Joined joined = JoinDimensions({2, 3, 4}, {{2, 1, 4}});
  EXPECT_EQ(joined.full, (Shape{2, 3, 4}));
  EXPECT_EQ(joined.parts[0], (Shape{2, 1, 4}));
}

TEST(JoinDimensions, LooksThroughDimensionsOfOne) {
  const Joined joined = JoinDimensions({2, 1, 4}, {{2, 1, 4}, {1, 1, 1}});
  EXPECT_EQ(joined.full, Shape{8});
  EXPECT_EQ(joined.parts[1], Shape{1});
}

TEST(JoinDimensions, AScalarHasOneDimension) {
  const Joined joined = JoinDimensions({}, {{}});
  EXPECT_EQ(joined.full, Shape{1});
  EXPECT_EQ(joined.parts[0], Shape{1});
}

TEST(Views, PadAndImages) {
  EXPECT_EQ(PadRank({3}, 3), (Shape{1, 1, 3}));
  EXPECT_EQ(PadRank({2, 3}, 2), (Shape{2, 3}));
  EXPECT_EQ(AsImages({2, 3, 7}), (Shape{2, 3, 1, 7}));
  EXPECT_EQ(AsImages({2, 3, 5, 7}), (Shape{2, 3, 5, 7}));
}

}  // namespace
}  // namespace nrtd::compiler
