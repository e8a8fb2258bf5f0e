// SPDX-License-Identifier: Apache-2.0
#include "base/heap.h"

#include <algorithm>
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

#include "base/sizes.h"

namespace nrtd {
namespace {

class HeapTest : public ::testing::Test {
 protected:
  void SetUp() override {
#ifdef NRTD_SANITIZED
    GTEST_SKIP() << "a sanitizer has an allocator of its own";
#endif
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

TEST_F(HeapTest, GivesBackFreePagesBelowABlockThatLives) {
  constexpr size_t kBlock = 64 * kKiB;
  std::vector<std::unique_ptr<char[]>> blocks;
  for (int i = 0; i < 512; ++i) {
    blocks.push_back(std::make_unique<char[]>(kBlock));
    std::memset(blocks.back().get(), 1, kBlock);
  }
  const std::unique_ptr<char[]> last = std::move(blocks.back());
  blocks.clear();
  const uint64_t kept = ResidentBytes();
  ReturnFreeMemory();
  EXPECT_LT(ResidentBytes() + 16 * kMiB, kept);
}

// In a process of its own, where nobody has made arenas before.
TEST_F(HeapTest, ManyThreadsShareAFewArenas) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        LimitArenas();
        std::exit(ArenasOfThreads(32));
      },
      [](int status) {
        return WIFEXITED(status) && WEXITSTATUS(status) >= 1 &&
               WEXITSTATUS(status) <=
                   std::min<int>(static_cast<int>(std::thread::hardware_concurrency()),
                                 kMostArenas);
      },
      "");
}

}  // namespace
}  // namespace nrtd
