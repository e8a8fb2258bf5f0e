// SPDX-License-Identifier: Apache-2.0
#include "serving/neuron/copies.h"

#include <thread>

#include <gmock/gmock.h>

#include "test/must.h"

namespace nrtd::serving {
namespace {

using ::testing::ElementsAre;

class CopiesTest : public ::testing::Test {
 protected:
  CopiesTest() { copies_.Add({1, 1, nullptr}); }
  // Notes `number` when it gets room, or less than 0 when it does not.
  void StartTake(int number, TimePoint deadline = TimePoint::max()) {
    copies_.StartTake(deadline, [this, number](Result<Copies::Copy> copy) {
      order_.push_back(copy ? number : -number);
      if (!copy) code_ = copy.error().code;
    });
  }

  Copies copies_;
  std::vector<int> order_;
  Nerr code_ = Nerr::kOk;
};

TEST_F(CopiesTest, TheCopyWithTheMostRoomIsTaken) {
  copies_.Add({2, 2, nullptr});
  EXPECT_EQ(Must(copies_.Take(TimePoint::max())).network, 2U);
  const auto second = Must(copies_.Take(TimePoint::max()));
  const auto third = Must(copies_.Take(TimePoint::max()));
  EXPECT_EQ(second.network + third.network, 3U);
}

TEST_F(CopiesTest, WhoAsksFirstGetsRoomFirst) {
  const auto copy = Must(copies_.Take(TimePoint::max()));
  for (const int number : {1, 2, 3}) StartTake(number);
  EXPECT_THAT(order_, ElementsAre());
  for (int i = 0; i < 3; ++i) copies_.GiveBack(copy);
  EXPECT_THAT(order_, ElementsAre(1, 2, 3));
  copies_.GiveBack(copy);
  StartTake(4);
  EXPECT_THAT(order_, ElementsAre(1, 2, 3, 4));
}

TEST_F(CopiesTest, AThreadThatWaitsStandsInTheSameLine) {
  const auto copy = Must(copies_.Take(TimePoint::max()));
  StartTake(1);
  std::thread waits([&] { EXPECT_EQ(Must(copies_.Take(TimePoint::max())).network, 1U); });
  copies_.GiveBack(copy);  // for 1, whenever the thread comes
  EXPECT_THAT(order_, ElementsAre(1));
  copies_.GiveBack(copy);
  waits.join();
}

TEST_F(CopiesTest, WhatIsTooLateIsToldSoAndTheNextOneGetsTheRoom) {
  const auto copy = Must(copies_.Take(TimePoint::max()));
  StartTake(1, SteadyClock().Now());
  StartTake(2);
  copies_.GiveBack(copy);
  EXPECT_THAT(order_, ElementsAre(-1, 2));
  EXPECT_EQ(code_, Nerr::kTimeout);
  const auto late = copies_.Take(SteadyClock().Now());
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Nerr::kTimeout);
  copies_.GiveBack(copy);  // not for the one that has left
  StartTake(3);
  EXPECT_THAT(order_, ElementsAre(-1, 2, 3));
}

TEST_F(CopiesTest, NoMoreThanTheLimitWait) {
  const auto copy = Must(copies_.Take(TimePoint::max()));
  for (size_t i = 0; i < Copies::kMostWaiting; ++i) StartTake(1);
  StartTake(2);
  EXPECT_THAT(order_, ElementsAre(-2));
  EXPECT_EQ(code_, Nerr::kResource);
  const auto refused = copies_.Take(TimePoint::max());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kResource);
  copies_.GiveBack(copy);
  EXPECT_THAT(order_, ElementsAre(-2, 1));
}

}  // namespace
}  // namespace nrtd::serving
