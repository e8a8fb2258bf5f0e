// SPDX-License-Identifier: Apache-2.0
#include "base/heap.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <latch>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <malloc.h>
#include <unistd.h>

#include "base/sanitized.h"
#include "base/sizes.h"

namespace nrtd {
namespace {

class HeapTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "a sanitizer has an allocator of its own";
  }
};

uint64_t ResidentBytes() {
  uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages >> pages;
  return pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

int CountArenas() {
  char* text = nullptr;
  size_t size = 0;
  FILE* const stream = ::open_memstream(&text, &size);
  (void)::malloc_info(0, stream);
  (void)std::fclose(stream);
  const std::unique_ptr<char, decltype(&std::free)> owner(text, &std::free);
  int count = 0;
  const std::string_view left(text, size);
  for (size_t at = 0; (at = left.find("<heap nr=", at)) != std::string_view::npos; ++at) ++count;
  return count;
}

// All of them allocate before any has ended.
int ArenasOfThreads(int threads) {
  std::latch allocated(threads);
  std::vector<std::thread> running;
  for (int i = 0; i < threads; ++i) {
    running.emplace_back([&] {
      const std::string block(2000, 'x');
      allocated.arrive_and_wait();
    });
  }
  for (std::thread& thread : running) thread.join();
  return CountArenas();
}

// `blocks` of `size` bytes, all written.
std::vector<std::unique_ptr<char[]>> Allocate(int blocks, size_t size) {
  std::vector<std::unique_ptr<char[]>> all;
  for (int i = 0; i < blocks; ++i) {
    all.push_back(std::make_unique<char[]>(size));
    std::memset(all.back().get(), 1, size);
  }
  return all;
}

// Each in a process of its own, where nobody has made arenas or moved thresholds before.
class HeapOfItsOwnTest : public HeapTest {
 protected:
  void SetUp() override {
    HeapTest::SetUp();
    GTEST_FLAG_SET(death_test_style, "threadsafe");
  }
};

TEST_F(HeapTest, GivesBackFreePagesBelowABlockThatLives) {
  auto blocks = Allocate(512, 64 * kKiB);
  const std::unique_ptr<char[]> last = std::move(blocks.back());
  blocks.clear();
  const uint64_t kept = ResidentBytes();
  ReturnFreeMemory();
  EXPECT_LT(ResidentBytes() + 16 * kMiB, kept);
}

TEST_F(HeapOfItsOwnTest, ManyThreadsShareOneArena) {
  const auto run = [] {
    LimitHeap();
    std::exit(ArenasOfThreads(32) == kArenas ? 0 : 1);
  };
  EXPECT_EXIT(run(), ::testing::ExitedWithCode(0), "");
}

// A second arena would keep it: malloc_trim() gives the end of the first one back only.
TEST_F(HeapOfItsOwnTest, WhatThreadsFreedGoesBackAtOnceWhenAsked) {
  const auto run = [] {
    LimitHeap();
    const uint64_t before = ResidentBytes();
    uint64_t used = 0;
    std::thread([&] {
      const auto blocks = Allocate(3, 2 * kMiB);
      used = ResidentBytes();
    }).join();
    const uint64_t kept = ResidentBytes();
    ReturnFreeMemory();
    const bool stayed = kept + 2 * kMiB > used;  // it was no mapping of its own
    std::exit(stayed && ResidentBytes() < before + 2 * kMiB ? 0 : 1);
  };
  EXPECT_EXIT(run(), ::testing::ExitedWithCode(0), "");
}

TEST_F(HeapOfItsOwnTest, TheEnvironmentHasChosen) {
  const auto run = [] {
    ::setenv("MALLOC_TRIM_THRESHOLD_", "100000000", 1);
    ::mallopt(M_TRIM_THRESHOLD, 100'000'000);  // what it makes of it when a process begins
    LimitHeap();
    uint64_t before = 0;
    std::thread([&] {
      before = ResidentBytes();
      Allocate(900, 100 * kKiB);
    }).join();
    std::exit(ResidentBytes() > before + 80'000'000 ? 0 : 1);
  };
  EXPECT_EXIT(run(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace nrtd
