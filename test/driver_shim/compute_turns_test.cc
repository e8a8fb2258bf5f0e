// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/compute_turns.h"

#include <thread>

#include <gtest/gtest.h>

#include "test/driver_shim/sim_fixture.h"

namespace nrtd::sim {
namespace {

using std::chrono::milliseconds;

class ComputeTurnsTest : public testing::Test {
 protected:
  // A limit that has passed: has the place a turn at once?
  bool TakeAtOnce(ComputeTurns::Place& place) {
    return turns_.Take(place, {&clock_, clock_.Now()}, interrupted_);
  }
  void WaitForTurn(ComputeTurns::Place& place) {
    EXPECT_TRUE(turns_.Take(place, {}, interrupted_));
  }
  void AwaitWaiting(size_t count) {
    while (turns_.waiting() != count) std::this_thread::yield();
  }

  ManualClock clock_;
  std::atomic<bool> interrupted_{false};
  ComputeTurns turns_{2};
  ComputeTurns::Place first_;
  ComputeTurns::Place second_;
  ComputeTurns::Place third_;
  ComputeTurns::Place fourth_;
};

TEST_F(ComputeTurnsTest, NoMoreHaveOneThanFit) {
  EXPECT_TRUE(TakeAtOnce(first_));
  EXPECT_TRUE(TakeAtOnce(second_));
  EXPECT_FALSE(TakeAtOnce(third_));
  turns_.GiveBack(first_, 1);
  EXPECT_TRUE(TakeAtOnce(third_));
  EXPECT_FALSE(TakeAtOnce(first_));
}

TEST_F(ComputeTurnsTest, TheOneThatComputedTheLeastGoesFirst) {
  EXPECT_TRUE(TakeAtOnce(third_));
  turns_.GiveBack(third_, 1'000'000);
  EXPECT_TRUE(TakeAtOnce(first_));
  EXPECT_TRUE(TakeAtOnce(second_));
  std::thread hog([this] { WaitForTurn(third_); });
  AwaitWaiting(1);
  std::thread modest([this] { WaitForTurn(fourth_); });
  AwaitWaiting(2);
  turns_.GiveBack(first_, 1);
  modest.join();
  turns_.GiveBack(second_, 1);
  hog.join();
}

TEST_F(ComputeTurnsTest, WhoRestedGetsNoMoreThanTheOthersForIt) {
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(TakeAtOnce(first_));
    turns_.GiveBack(first_, 1'000'000);
  }
  // A newcomer begins where the others are, and after one long turn it is the other's.
  EXPECT_TRUE(TakeAtOnce(second_));
  turns_.GiveBack(second_, 5'000'000);
  EXPECT_TRUE(TakeAtOnce(third_));
  EXPECT_TRUE(TakeAtOnce(fourth_));
  std::thread newcomer([this] { WaitForTurn(second_); });
  AwaitWaiting(1);
  std::thread worker([this] { WaitForTurn(first_); });
  AwaitWaiting(2);
  turns_.GiveBack(third_, 1);
  worker.join();
  turns_.GiveBack(fourth_, 1);
  newcomer.join();
}

TEST_F(ComputeTurnsTest, AnInterruptEndsTheWait) {
  EXPECT_TRUE(TakeAtOnce(first_));
  EXPECT_TRUE(TakeAtOnce(second_));
  std::thread waiting([this] { EXPECT_FALSE(turns_.Take(third_, {}, interrupted_)); });
  AwaitWaiting(1);
  interrupted_ = true;
  turns_.Wake(third_);
  waiting.join();
  EXPECT_EQ(turns_.waiting(), 0U);
}

TEST_F(ComputeTurnsTest, TheLimitEndsTheWait) {
  EXPECT_TRUE(TakeAtOnce(first_));
  EXPECT_TRUE(TakeAtOnce(second_));
  std::thread waiting([this] {
    EXPECT_FALSE(turns_.Take(third_, {&clock_, clock_.Now() + milliseconds(5)}, interrupted_));
  });
  AwaitWaiting(1);
  clock_.Advance(milliseconds(5));
  waiting.join();
}

// Three cores that compute for long, with turns for two: all end, and each got its share.
TEST_F(ComputeTurnsTest, ManyThreadsAllGetOn) {
  std::vector<std::thread> threads;
  std::atomic<int> at_once{0};
  std::atomic<int> most{0};
  std::vector<ComputeTurns::Place> places(8);
  for (auto& place : places) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) {
        WaitForTurn(place);
        const int now = ++at_once;
        if (now > most) most = now;
        --at_once;
        turns_.GiveBack(place, 1000);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_LE(most, 2);
}

}  // namespace
}  // namespace nrtd::sim
