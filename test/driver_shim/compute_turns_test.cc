// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/compute_turns.h"

#include <array>
#include <barrier>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sched.h>

#include "base/usable_cpus.h"

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

// More cores than turns, with pieces of 1, 20 and 20 ms (of time that the test counts): each
// computes as much as the others.
TEST_F(ComputeTurnsTest, CoresWithLongPiecesComputeNoMoreThanOneWithShortOnes) {
  constexpr uint64_t kPieces[] = {1'000'000, 20'000'000, 20'000'000};
  constexpr uint64_t kTotal = 2'000'000'000;
  ComputeTurns one(1);  // so that only its holder gets on
  std::array<ComputeTurns::Place, 3> places;
  std::array<std::atomic<uint64_t>, 3> computed{};
  std::atomic<bool> over{false};
  std::barrier there(3);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      there.arrive_and_wait();
      EXPECT_TRUE(one.Take(places[i], {}, interrupted_));
      // The first one waits until the others do.
      while (!over && one.waiting() + 1 < places.size()) std::this_thread::yield();
      while (!over) {
        if ((computed[i] += kPieces[i]) >= kTotal) over = true;
        EXPECT_TRUE(one.Renew(places[i], kPieces[i], {}, interrupted_));
      }
      one.GiveBack(places[i], 0);
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& amount : computed)
    EXPECT_GT(amount, kTotal * 9 / 10) << computed[0] << " " << computed[1] << " " << computed[2];
}

TEST_F(ComputeTurnsTest, WhoRenewsKeepsItsTurnWhileNobodyComputedLess) {
  EXPECT_TRUE(TakeAtOnce(first_));
  EXPECT_TRUE(turns_.Renew(first_, 1'000'000, {}, interrupted_));
  EXPECT_TRUE(first_.has_turn());
}

TEST(FreeTimeTest, ItComesBackAtATenthOfTheClocksSpeed) {
  FreeTime free;
  EXPECT_EQ(free.At(1'000'000'000), FreeTime::kMostNs);
  free.Use(700'000);
  EXPECT_EQ(free.At(1'000'000'000), 300'000U);
  EXPECT_EQ(free.At(1'001'000'000), 400'000U);
  free.Use(1'000'000'000);
  EXPECT_EQ(free.At(1'001'000'000), 0U);
  EXPECT_EQ(free.At(9'000'000'000), FreeTime::kMostNs);
}

TEST(UsableCpusTest, NoMoreThanTheAffinityAllows) {
  cpu_set_t before;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(before), &before), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (size_t cpu = 0; CPU_COUNT(&one) == 0; ++cpu)
    if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
  ASSERT_EQ(::sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(UsableCpus(), 1U);
  EXPECT_EQ(ComputeTurns::FittingOnCpus(4), 1U);
  ASSERT_EQ(::sched_setaffinity(0, sizeof(before), &before), 0);
}

}  // namespace
}  // namespace nrtd::sim
