// SPDX-License-Identifier: Apache-2.0
#include "memory/numa.h"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include "base/mapped_region.h"
#include "base/sizes.h"
#include "memory/hugepage_pool.h"
#include "test/memory/system_fixture.h"

namespace nrtd::memory {
namespace {

TEST(Numa, ThereIsAtLeastNodeZero) {
  EXPECT_GE(NumaNodeCount(), 1);
  EXPECT_TRUE(NumaNodeExists(0));
  EXPECT_FALSE(NumaNodeExists(-1));
  EXPECT_FALSE(NumaNodeExists(100'000));
}

TEST(Numa, BoundPagesComeFromTheirNode) {
  auto region = MappedRegion::Allocate(kMiB);
  ASSERT_TRUE(region);
  const auto bound = BindRange({region->data(), region->size()}, 0);
  ASSERT_TRUE(bound) << bound.error().text;
  std::memset(region->data(), 1, region->size());
  const auto node = NodeOfPage(region->data() + kMiB / 2);
  if (!node) GTEST_SKIP() << node.error().text;
  EXPECT_EQ(*node, 0);
}

TEST(Numa, ANodeThatDoesNotExistIsInvalid) {
  auto region = MappedRegion::Allocate(kMiB);
  ASSERT_TRUE(region);
  EXPECT_EQ(BindRange({region->data(), region->size()}, 12345).error().code, Nerr::kInvalid);
}

TEST(Numa, AnUnmappedRangeIsAnErrorAndNotACrash) {
  std::byte* gone = nullptr;
  {
    auto region = MappedRegion::Map(kMiB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS);
    ASSERT_TRUE(region);
    gone = region->data();
  }
  const auto bound = BindRange({gone, kMiB}, 0);
  if (bound) GTEST_SKIP() << "mbind is not allowed here";
  EXPECT_EQ(bound.error().code, Nerr::kResource);
}

TEST(Numa, APoolIsPlacedOnTheNodeItWasAskedFor) {
  NRTD_REQUIRE_HUGE_PAGES(2);
  const auto pool = HugePagePool::Create(
      {.pages_per_device = 2, .numa_node = 0, .addressing = BusAddressing::kVirtual});
  ASSERT_TRUE(pool) << pool.error().text;
  for (const PoolPage& page : (*pool)->pages()) {
    const auto node = NodeOfPage(page.data);
    if (!node) GTEST_SKIP() << node.error().text;
    EXPECT_EQ(*node, 0);
  }
}

}  // namespace
}  // namespace nrtd::memory
