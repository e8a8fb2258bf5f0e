// SPDX-License-Identifier: Apache-2.0
#include "memory/dram_allocator.h"

#include <map>
#include <random>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/sizes.h"

namespace nrtd::memory {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr uint64_t kBase = 4 * kGiB;  // the second channel
constexpr uint64_t kSize = 4 * kGiB;

TEST(DramAllocator, GivesTheExactSizeAndFillsTheRangeToTheLastByte) {
  auto dram = DramAllocator::Create(kBase, kSize);
  ASSERT_TRUE(dram);
  auto odd = dram->Allocate(1001, 1, "odd");
  ASSERT_TRUE(odd);
  EXPECT_EQ(odd->size(), 1001);
  auto rest = dram->Allocate(kSize - 1001, 1, "rest");
  ASSERT_TRUE(rest);
  EXPECT_EQ(rest->address(), kBase + 1001);
  EXPECT_EQ(dram->used_bytes(), kSize);
  EXPECT_FALSE(dram->Allocate(1, 1, "one byte more"));
}

TEST(DramAllocator, ExhaustionSaysForWhatAndHowMuchThereIs) {
  auto dram = DramAllocator::Create(0, 1000);
  auto low = dram->Allocate(400, 1, "low");
  auto middle = dram->Allocate(200, 1, "middle");
  *low = DramBlock();
  const auto refused = dram->Allocate(500, 64, "weights of sg00");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kResource);
  EXPECT_THAT(refused.error().text,
              StartsWith("Failed to allocate buffer in MLA DRAM for weights of sg00: wanted 500 "
                         "bytes aligned to 64, free 800 of 1000, largest free block 400"));
}

TEST(DramAllocator, RefusesRequestsThatMakeNoSense) {
  auto dram = DramAllocator::Create(0, 1000);
  for (const auto& [size, alignment] :
       std::vector<std::pair<uint64_t, uint64_t>>{{0, 1}, {1, 0}, {1, 3}}) {
    const auto refused = dram->Allocate(size, alignment, "x");
    ASSERT_FALSE(refused) << size << " aligned to " << alignment;
    EXPECT_EQ(refused.error().code, Nerr::kInvalid);
  }
  EXPECT_EQ(DramAllocator::Create(0, 0).error().code, Nerr::kInvalid);
  EXPECT_EQ(DramAllocator::Create(~uint64_t{0}, 2).error().code, Nerr::kInvalid);
}

TEST(DramAllocator, HugeRequestsDoNotOverflow) {
  auto dram = DramAllocator::Create(kBase, kSize);
  EXPECT_FALSE(dram->Allocate(~uint64_t{0}, 1, "everything"));
  EXPECT_FALSE(dram->Allocate(1, uint64_t{1} << 63, "aligned beyond the range"));
}

TEST(DramAllocator, BlocksFreeThemselvesOnceWhereverTheyAreMoved) {
  auto dram = DramAllocator::Create(0, 1000);
  {
    auto first = dram->Allocate(100, 1, "first");
    auto second = dram->Allocate(100, 1, "second");
    DramBlock moved = std::move(*first);
    EXPECT_FALSE(*first);
    EXPECT_EQ(first->size(), 0);
    EXPECT_EQ(dram->used_bytes(), 200);
    moved = std::move(*second);
    EXPECT_EQ(moved.address(), 100);
    EXPECT_EQ(dram->used_bytes(), 100);
  }
  EXPECT_EQ(dram->used_bytes(), 0);
}

TEST(DramAllocator, ABlockMayOutliveItsAllocator) {
  DramBlock block;
  {
    auto dram = DramAllocator::Create(0, 1000);
    block = *dram->Allocate(100, 1, "survivor");
  }
  EXPECT_EQ(block.size(), 100);
}

TEST(DramAllocator, FragmentationIsTheShareOutsideTheLargestBlock) {
  auto dram = DramAllocator::Create(0, 1000);
  EXPECT_EQ(dram->GetFragmentation().ratio, 0);
  std::vector<DramBlock> blocks;
  for (int i = 0; i < 10; ++i) blocks.push_back(*dram->Allocate(100, 1, "tenth"));
  EXPECT_EQ(dram->GetFragmentation().free_bytes, 0);
  EXPECT_EQ(dram->GetFragmentation().ratio, 0);
  for (const int i : {1, 5, 6, 7}) blocks[static_cast<size_t>(i)] = DramBlock();
  const Fragmentation figures = dram->GetFragmentation();
  EXPECT_EQ(figures.free_bytes, 400);
  EXPECT_EQ(figures.largest_free, 300);
  EXPECT_EQ(figures.blocks, 2);
  EXPECT_DOUBLE_EQ(figures.ratio, 0.25);
}

// Returns the addresses, so that two runs can be compared.
std::vector<uint64_t> RunRandomly(uint64_t seed) {
  std::mt19937_64 random(seed);
  auto dram = DramAllocator::Create(kBase, kSize);
  std::map<uint64_t, DramBlock> held;
  std::vector<uint64_t> addresses;
  uint64_t used = 0;
  for (int i = 0; i < 30000; ++i) {
    if (random() % 100 < 52 || held.empty()) {
      const uint64_t alignment = uint64_t{1} << (random() % 22);
      auto block = dram->Allocate(1 + random() % (16 * kMiB), alignment, "random");
      if (!block) continue;
      addresses.push_back(block->address());
      EXPECT_EQ(block->address() % alignment, 0);
      EXPECT_GE(block->address(), kBase);
      EXPECT_LE(block->address() + block->size(), kBase + kSize);
      const auto above = held.lower_bound(block->address());
      if (above != held.end()) {
        EXPECT_LE(block->address() + block->size(), above->first);
      }
      if (above != held.begin()) {
        const DramBlock& below = std::prev(above)->second;
        EXPECT_LE(below.address() + below.size(), block->address());
      }
      used += block->size();
      held.emplace(block->address(), std::move(*block));
    } else {
      auto victim = held.lower_bound(kBase + random() % kSize);
      if (victim == held.end()) victim = held.begin();
      used -= victim->second.size();
      held.erase(victim);
    }
    EXPECT_EQ(dram->used_bytes(), used);
  }
  held.clear();
  EXPECT_EQ(dram->GetFragmentation().largest_free, kSize);
  EXPECT_EQ(dram->GetFragmentation().blocks, 1);
  return addresses;
}

TEST(DramAllocator, RandomUseOfAChannelNeverOverlapsCoalescesAndIsRepeatable) {
  const std::vector<uint64_t> once = RunRandomly(7);
  EXPECT_GT(once.size(), 10000);
  EXPECT_EQ(once, RunRandomly(7));
}

TEST(DramAllocator, ThreadsShareItWithoutLosingAByte) {
  auto dram = DramAllocator::Create(0, 64 * kMiB);
  std::vector<std::thread> threads;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&dram, seed] {
      std::mt19937_64 random(seed);
      std::vector<DramBlock> blocks(16);
      for (int i = 0; i < 3000; ++i) {
        auto block = dram->Allocate(1 + random() % kMiB, 64, "thread");
        blocks[random() % blocks.size()] = block ? std::move(*block) : DramBlock();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(dram->used_bytes(), 0);
  EXPECT_EQ(dram->GetFragmentation().blocks, 1);
}

}  // namespace
}  // namespace nrtd::memory
