// SPDX-License-Identifier: Apache-2.0
#include "runtime/workers.h"

#include <atomic>
#include <future>
#include <set>
#include <stdexcept>

#include <gtest/gtest.h>

namespace nrtd::runtime {
namespace {

TEST(WorkersTest, NoMoreThreadsThanTheLimitRunTasks) {
  Mutex mutex;
  std::set<std::thread::id> threads;
  std::atomic<int> done{0};
  {
    Workers workers(3);
    for (int i = 0; i < 300; ++i) {
      workers.Post([&] {
        MutexLock lock(mutex);
        threads.insert(std::this_thread::get_id());
        ++done;
      });
    }
  }
  EXPECT_EQ(done, 300);
  EXPECT_LE(threads.size(), 3U);
}

TEST(WorkersTest, TasksThatBlockDoNotKeepTheOthersWhileThreadsAreLeft) {
  std::promise<void> second;
  Workers workers(2);
  workers.Post([&] { second.get_future().wait(); });
  workers.Post([&] { second.set_value(); });
}

TEST(WorkersTest, TheDestructorRunsWhatTasksHavePosted) {
  std::atomic<int> done{0};
  {
    Workers workers(2);
    for (int i = 0; i < 10; ++i) {
      workers.Post([&] {
        workers.Post([&] {
          workers.Post([&] { ++done; });
          ++done;
        });
        ++done;
      });
    }
  }
  EXPECT_EQ(done, 30);
}

TEST(WorkersTest, ATaskThatThrowsEndsNothingElse) {
  std::atomic<int> done{0};
  {
    Workers workers(1);
    workers.Post([] { throw std::runtime_error("as when memory is exhausted"); });
    workers.Post([&] { ++done; });
  }
  EXPECT_EQ(done, 1);
}

}  // namespace
}  // namespace nrtd::runtime
