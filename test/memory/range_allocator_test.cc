// SPDX-License-Identifier: Apache-2.0
#include "memory/range_allocator.h"

#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "base/sanitized.h"

namespace nrtd::memory {
namespace {

constexpr uint64_t kTop = ~uint64_t{0};

// Says by looking at every byte what RangeAllocator has to find out from its trees.
class NaiveModel {
 public:
  NaiveModel(uint64_t base, uint64_t size) : base_(base), used_(size) {}

  bool CanHold(const RangeRequest& request) const {
    for (uint64_t at = 0; at + request.size <= used_.size(); ++at) {
      const uint64_t address = base_ + at;
      if (address % request.alignment != 0 || Crosses(address, request)) continue;
      if (IsFree(at, request.size)) return true;
    }
    return false;
  }

  static bool Crosses(uint64_t address, const RangeRequest& request) {
    return request.boundary != 0 && request.size <= request.boundary &&
           address / request.boundary != (address + request.size - 1) / request.boundary;
  }

  void Set(uint64_t address, uint64_t size, bool used) {
    for (uint64_t at = address - base_; at < address - base_ + size; ++at) {
      ASSERT_NE(used_[at], used) << "byte " << at << " changes hands twice";
      used_[at] = used;
    }
  }

  void ExpectSameFigures(const RangeAllocator& ranges) const {
    uint64_t free = 0;
    uint64_t largest = 0;
    uint64_t blocks = 0;
    uint64_t run = 0;
    for (const bool used : used_) {
      run = used ? 0 : run + 1;
      free += used ? 0 : 1;
      blocks += run == 1 ? 1 : 0;
      largest = std::max(largest, run);
    }
    EXPECT_EQ(ranges.free_bytes(), free);
    EXPECT_EQ(ranges.largest_free(), largest);
    EXPECT_EQ(ranges.free_blocks(), blocks);
  }

 private:
  bool IsFree(uint64_t at, uint64_t size) const {
    for (uint64_t i = at; i < at + size; ++i) {
      if (used_[i]) return false;
    }
    return true;
  }
  uint64_t base_;
  std::vector<bool> used_;
};

TEST(RangeAllocator, TakesTheSmallestBlockThatFitsAndTheLowerOfTwo) {
  RangeAllocator ranges(0, 100);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(ranges.Allocate({.size = 10}));
  ranges.Free(0, 30);
  ranges.Free(40, 10);
  ranges.Free(70, 10);
  EXPECT_EQ(ranges.Allocate({.size = 10}), 40);
  EXPECT_EQ(ranges.Allocate({.size = 5}), 70);
  EXPECT_EQ(ranges.Allocate({.size = 11}), 0);
}

TEST(RangeAllocator, KeepsTheGapBeforeAnAlignedBlockFree) {
  RangeAllocator ranges(10, 100);
  EXPECT_EQ(ranges.Allocate({.size = 16, .alignment = 64}), 64);
  EXPECT_EQ(ranges.free_blocks(), 2);
  EXPECT_EQ(ranges.Allocate({.size = 55}), std::nullopt);
  EXPECT_EQ(ranges.Allocate({.size = 54}), 10);
  EXPECT_EQ(ranges.Allocate({.size = 30}), 80);
  EXPECT_EQ(ranges.free_bytes(), 0);
}

TEST(RangeAllocator, SmallRequestsStayInsideABoundaryAndLargeOnesMayCross) {
  RangeAllocator ranges(0, 256);
  EXPECT_EQ(ranges.Allocate({.size = 40, .boundary = 64}), 0);
  EXPECT_EQ(ranges.Allocate({.size = 40, .boundary = 64}), 64);
  EXPECT_EQ(ranges.Allocate({.size = 24, .boundary = 64}), 40);
  EXPECT_EQ(ranges.Allocate({.size = 100, .boundary = 64}), 104);
}

TEST(RangeAllocator, WorksAtTheTopOfTheAddressSpace) {
  RangeAllocator ranges(kTop - 100, 100);
  EXPECT_EQ(ranges.Allocate({.size = 8, .alignment = 1024}), std::nullopt);
  EXPECT_EQ(ranges.Allocate({.size = kTop}), std::nullopt);
  EXPECT_EQ(ranges.Allocate({.size = 100}), kTop - 100);
  EXPECT_EQ(ranges.largest_free(), 0);
}

TEST(RangeAllocatorDeathTest, FreeingTwiceIsCaught) {
  RangeAllocator ranges(0, 100);
  ASSERT_TRUE(ranges.Allocate({.size = 10}));
  ranges.Free(0, 10);
  EXPECT_DEATH(ranges.Free(0, 10), "Assertion");
}

// Succeeds exactly when some place exists, never overlaps, and its figures are true, whatever the
// order of calls.
TEST(RangeAllocator, AgreesWithANaiveModelOverManyRandomCalls) {
  constexpr uint64_t kRangeBase = 4099;
  constexpr uint64_t kRangeBytes = 1500;
  constexpr int kCalls = kSanitized ? 3000 : 12000;
  struct Held {
    uint64_t address;
    uint64_t size;
  };
  for (const uint64_t seed : {1, 2, 3}) {
    std::mt19937_64 random(seed);
    RangeAllocator ranges(kRangeBase, kRangeBytes);
    NaiveModel model(kRangeBase, kRangeBytes);
    std::vector<Held> held;
    for (int i = 0; i < kCalls; ++i) {
      if (random() % 100 < 55 || held.empty()) {
        const RangeRequest request{.size = 1 + random() % (random() % 4 == 0 ? 200 : 20),
                                   .alignment = uint64_t{1} << (random() % 8),
                                   .boundary = random() % 2 == 0 ? uint64_t{0} : uint64_t{128}};
        const auto address = ranges.Allocate(request);
        ASSERT_EQ(address.has_value(), model.CanHold(request)) << "call " << i;
        if (!address) continue;
        ASSERT_EQ(*address % request.alignment, 0);
        ASSERT_FALSE(NaiveModel::Crosses(*address, request));
        ASSERT_NO_FATAL_FAILURE(model.Set(*address, request.size, true));
        held.push_back({*address, request.size});
      } else {
        std::swap(held[random() % held.size()], held.back());
        ranges.Free(held.back().address, held.back().size);
        ASSERT_NO_FATAL_FAILURE(model.Set(held.back().address, held.back().size, false));
        held.pop_back();
      }
      if (i % 50 == 0) model.ExpectSameFigures(ranges);
    }
    for (const Held& block : held) ranges.Free(block.address, block.size);
    EXPECT_EQ(ranges.free_bytes(), kRangeBytes);
    EXPECT_EQ(ranges.largest_free(), kRangeBytes);
    EXPECT_EQ(ranges.free_blocks(), 1);
  }
}

}  // namespace
}  // namespace nrtd::memory
