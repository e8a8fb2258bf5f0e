// SPDX-License-Identifier: Apache-2.0
#include "base/mutex.h"

#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace nrtd {
namespace {

TEST(Mutex, OneThreadAtATime) {
  Mutex mutex;
  int counter = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) {
        MutexLock lock(mutex);
        ++counter;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counter, 20000);
}

TEST(MutexLock, MayBeLetGoAndTakenAgain) {
  Mutex mutex;
  const auto is_free = [&mutex] {
    bool taken = false;
    std::thread([&] {
      if (!mutex.TryLock()) return;
      taken = true;
      mutex.Unlock();
    }).join();
    return taken;
  };
  {
    MutexLock lock(mutex);
    EXPECT_FALSE(is_free());
    lock.Unlock();
    EXPECT_TRUE(is_free());
    lock.Lock();
    EXPECT_FALSE(is_free());
    lock.Unlock();
  }
  EXPECT_TRUE(is_free());
}

TEST(CondVar, WakesAThreadThatWaits) {
  Mutex mutex;
  CondVar condition;
  int turn = 0;
  std::thread other([&] {
    MutexLock lock(mutex);
    while (turn != 1) condition.Wait(mutex);
    turn = 2;
    condition.NotifyOne();
  });
  {
    MutexLock lock(mutex);
    turn = 1;
    condition.NotifyAll();
    while (turn != 2) condition.Wait(mutex);
  }
  other.join();
  EXPECT_EQ(turn, 2);
}

}  // namespace
}  // namespace nrtd
