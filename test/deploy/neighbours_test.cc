// SPDX-License-Identifier: Apache-2.0
#include "deploy/cluster/neighbours.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nrtd::deploy {
namespace {

using ::testing::ElementsAre;

TEST(ChooseNeighbours, TakesTheShortestRunThatHasThem) {
  EXPECT_THAT(ChooseNeighbours({0, 1, 2, 3, 5, 6}, {}, 2), ElementsAre(5, 6));
  EXPECT_THAT(ChooseNeighbours({0, 2, 3, 5, 6, 7}, {}, 1), ElementsAre(0));
  EXPECT_THAT(ChooseNeighbours({0, 1, 2, 3}, {}, 4), ElementsAre(0, 1, 2, 3));
}

TEST(ChooseNeighbours, HasAllThatAreRequired) {
  EXPECT_THAT(ChooseNeighbours({0, 1, 2, 3, 5, 6}, {2}, 2), ElementsAre(1, 2));
  EXPECT_THAT(ChooseNeighbours({0, 1, 2, 3, 5, 6}, {0, 3}, 4), ElementsAre(0, 1, 2, 3));
}

TEST(ChooseNeighbours, GivesWhatThereIsWhereNoNeighboursAre) {
  EXPECT_THAT(ChooseNeighbours({0, 2, 5}, {}, 2), ElementsAre(0, 2));
  EXPECT_THAT(ChooseNeighbours({0, 2, 5}, {5}, 2), ElementsAre(0, 5));
  EXPECT_THAT(ChooseNeighbours({0}, {}, 3), ElementsAre(0));
  EXPECT_THAT(ChooseNeighbours({}, {}, 0), ElementsAre());
}

}  // namespace
}  // namespace nrtd::deploy
