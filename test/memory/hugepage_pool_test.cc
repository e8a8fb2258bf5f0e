// SPDX-License-Identifier: Apache-2.0
#include "memory/hugepage_pool.h"

#include <cstring>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sizes.h"
#include "memory/pagemap.h"
#include "test/memory/system_fixture.h"

namespace nrtd::memory {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::unique_ptr<HugePagePool> SmallPool(uint64_t pages) {
  auto pool = HugePagePool::Create({.pages_per_device = pages, .only_small_pages = true});
  EXPECT_TRUE(pool) << pool.error().text;
  return pool ? std::move(*pool) : nullptr;
}

TEST(HugePagePool, EveryPageHasAPhysicalAddressOfItsOwn) {
  NRTD_REQUIRE_HUGE_PAGES(6);
  NRTD_REQUIRE_PHYSICAL_ADDRESSES();
  auto pool = HugePagePool::Create({.pages_per_device = 3, .devices = 2});
  ASSERT_TRUE(pool) << pool.error().text;
  EXPECT_TRUE((*pool)->uses_huge_pages());
  EXPECT_EQ((*pool)->addressing(), BusAddressing::kPhysical);
  ASSERT_EQ((*pool)->pages().size(), 6);
  const auto pagemap = Pagemap::Open();
  std::set<uint64_t> addresses;
  for (const PoolPage& page : (*pool)->pages()) {
    EXPECT_EQ(page.length, kHugePageSize);
    EXPECT_NE(page.bus_address, 0);
    EXPECT_EQ(page.bus_address % kHugePageSize, 0);
    addresses.insert(page.bus_address);
    // In the middle and at the end of the page it is still the same 2 MiB.
    for (const uint64_t offset : {kMiB + 5, kHugePageSize - 1})
      EXPECT_EQ(*pagemap->PhysicalAddress(page.data + offset), page.bus_address + offset);
  }
  EXPECT_EQ(addresses.size(), 6);
}

TEST(HugePagePool, PagesComeWhenTheyAreUsedAndReturnWithTheLastBuffer) {
  NRTD_REQUIRE_HUGE_PAGES(4);
  const uint64_t before = ProcessBytes("HugetlbPages");
  auto pool = HugePagePool::Create({.pages_per_device = 4, .addressing = BusAddressing::kVirtual});
  ASSERT_TRUE(pool) << pool.error().text;
  EXPECT_EQ(ProcessBytes("HugetlbPages"), before + kHugePageSize);
  auto buffer = (*pool)->Allocate(3 * kHugePageSize);
  ASSERT_TRUE(buffer);
  EXPECT_EQ(ProcessBytes("HugetlbPages"), before + 3 * kHugePageSize);
  EXPECT_EQ((*pool)->pages().size(), 4);
  EXPECT_EQ(ProcessBytes("HugetlbPages"), before + 4 * kHugePageSize);
  pool->reset();
  std::memset(buffer->data(), 7, buffer->size());
  *buffer = DmaBuffer();
  EXPECT_EQ(ProcessBytes("HugetlbPages"), before);
}

// Whatever order they come in and whoever asks: each is shown once, before it is used.
TEST(HugePagePool, EveryPageIsShownToTheDriverOnce) {
  std::mutex mutex;
  std::map<std::byte*, int> shown;
  auto pool = HugePagePool::Create({.pages_per_device = 32,
                                    .only_small_pages = true,
                                    .on_page = [&](const PoolPage& page) -> Result<void> {
                                      const std::lock_guard lock(mutex);
                                      ++shown[page.data];
                                      return {};
                                    }});
  ASSERT_TRUE(pool) << pool.error().text;
  (*pool)->AddRemainingBehind();
  std::vector<DmaBuffer> buffers;
  for (int i = 0; i < 32; ++i) {
    auto buffer = (*pool)->Allocate(kHugePageSize);
    ASSERT_TRUE(buffer) << buffer.error().text;
    const std::lock_guard lock(mutex);
    EXPECT_EQ(shown[buffer->data()], 1);
    buffers.push_back(std::move(*buffer));
  }
  EXPECT_EQ((*pool)->pages().size(), shown.size());
}

TEST(HugePagePool, APageThatTheDriverRefusesStaysOutOfThePool) {
  std::byte* refused = nullptr;
  const auto refuse_second = [&, count = 0](const PoolPage& page) mutable -> Result<void> {
    if (++count != 2) return {};
    refused = page.data;
    return Fail(Nerr::kFail, "no room in the device's table");
  };
  auto pool = HugePagePool::Create(
      {.pages_per_device = 3, .only_small_pages = true, .on_page = refuse_second});
  ASSERT_TRUE(pool) << pool.error().text;
  const auto first = (*pool)->Allocate(kHugePageSize);
  ASSERT_TRUE(first);
  EXPECT_NE(first->data(), refused);
  const auto second = (*pool)->Allocate(kHugePageSize);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().text, HasSubstr("no room in the device's table"));
}

TEST(HugePagePool, PhysicalAddressesSurviveAFork) {
  NRTD_REQUIRE_HUGE_PAGES(2);
  NRTD_REQUIRE_PHYSICAL_ADDRESSES();
  auto pool = HugePagePool::Create({.pages_per_device = 2});
  ASSERT_TRUE(pool) << pool.error().text;
  int hold[2];
  ASSERT_EQ(::pipe(hold), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::close(hold[1]);
    char byte = 0;
    const ssize_t ended = ::read(hold[0], &byte, 1);
    ::_exit(ended == 0 ? 0 : 1);
  }
  // Were the pages shared with the child, this would copy them to another place.
  const auto pagemap = Pagemap::Open();
  for (const PoolPage& page : (*pool)->pages()) {
    std::memset(page.data, 1, page.length);
    EXPECT_EQ(*pagemap->PhysicalAddress(page.data), page.bus_address);
  }
  ::close(hold[0]);
  ::close(hold[1]);
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(HugePagePool, ABufferOverTwoPagesHasASegmentInEach) {
  NRTD_REQUIRE_HUGE_PAGES(4);
  NRTD_REQUIRE_PHYSICAL_ADDRESSES();
  auto pool = HugePagePool::Create({.pages_per_device = 4});
  ASSERT_TRUE(pool) << pool.error().text;
  auto first = (*pool)->Allocate(kMiB);
  auto second = (*pool)->Allocate(3 * kMiB - 64);
  ASSERT_TRUE(first && second);
  const auto pages = (*pool)->pages();
  ASSERT_EQ(second->segments().size(), 2);
  const DmaSegment& low = second->segments()[0];
  const DmaSegment& high = second->segments()[1];
  EXPECT_EQ(low.bus_address, pages[0].bus_address + kMiB);
  EXPECT_EQ(low.length, kMiB);
  EXPECT_EQ(low.offset, 0);
  EXPECT_EQ(high.bus_address, pages[1].bus_address);
  EXPECT_EQ(high.length, 2 * kMiB - 64);
  EXPECT_EQ(high.offset, kMiB);
  const auto pagemap = Pagemap::Open();
  for (const uint64_t offset : {uint64_t{0}, kMiB - 1, kMiB, 3 * kMiB - 65}) {
    EXPECT_EQ(second->BusAddress(offset), *pagemap->PhysicalAddress(second->data() + offset));
  }
}

TEST(HugePagePool, WithoutTheRightToSeePhysicalAddressesItSaysWhatToGrant) {
  NRTD_REQUIRE_HUGE_PAGES(2);
  NRTD_REQUIRE_PHYSICAL_ADDRESSES();
  constexpr int kSysAdmin = 21;
  const WithoutCapability none(kSysAdmin);
  const auto refused = HugePagePool::Create({.pages_per_device = 2});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kResource);
  EXPECT_THAT(refused.error().text, HasSubstr("CAP_SYS_ADMIN"));
  auto simulated =
      HugePagePool::Create({.pages_per_device = 2, .addressing = BusAddressing::kVirtual});
  ASSERT_TRUE(simulated) << simulated.error().text;
  EXPECT_TRUE((*simulated)->uses_huge_pages());
  auto buffer = (*simulated)->Allocate(64);
  EXPECT_EQ(buffer->BusAddress(), reinterpret_cast<uintptr_t>(buffer->data()));
}

// As a daemon does that waits for huge pages without capabilities.
TEST(HugePagePool, APagemapThatWasOpenedBeforeShowsPhysicalAddressesLater) {
  NRTD_REQUIRE_HUGE_PAGES(2);
  NRTD_REQUIRE_PHYSICAL_ADDRESSES();
  auto opened = Pagemap::Open();
  ASSERT_TRUE(opened) << opened.error().text;
  const auto pagemap = std::make_shared<const Pagemap>(std::move(*opened));
  constexpr int kSysAdmin = 21;
  const WithoutCapability none(kSysAdmin);
  const auto pool = HugePagePool::Create({.pages_per_device = 2, .pagemap = pagemap});
  ASSERT_TRUE(pool) << pool.error().text;
  for (const PoolPage& page : (*pool)->pages()) {
    EXPECT_NE(page.bus_address, reinterpret_cast<uintptr_t>(page.data));
    EXPECT_EQ(page.bus_address, pagemap->PhysicalAddress(page.data).value());
  }
}

TEST(HugePagePool, SmallPagesAreAddressedVirtuallyWhateverWasAsked) {
  const auto pool = SmallPool(3);
  ASSERT_TRUE(pool);
  EXPECT_FALSE(pool->uses_huge_pages());
  EXPECT_EQ(pool->addressing(), BusAddressing::kVirtual);
  ASSERT_EQ(pool->pages().size(), 3);
  for (const PoolPage& page : pool->pages()) {
    EXPECT_EQ(page.bus_address, reinterpret_cast<uintptr_t>(page.data));
    EXPECT_EQ(page.bus_address % kHugePageSize, 0);
    std::memset(page.data, 3, page.length);
  }
}

TEST(HugePagePool, SmallPagesAreLocked) {
  if (!MlockIsReal()) GTEST_SKIP() << "the sanitizer's runtime ignores mlock()";
  const uint64_t before = ProcessBytes("VmLck");
  const auto pool = SmallPool(3);
  ASSERT_TRUE(pool);
  EXPECT_EQ(ProcessBytes("VmLck"), before + 3 * kHugePageSize);
}

TEST(HugePagePool, ABufferOfAtMostOnePageIsOneSegment) {
  const auto pool = SmallPool(4);
  ASSERT_TRUE(pool);
  std::vector<DmaBuffer> buffers;
  for (int i = 0; i < 4; ++i) {
    auto buffer = pool->Allocate(kMiB + 64);
    ASSERT_TRUE(buffer) << buffer.error().text;
    EXPECT_EQ(buffer->segments().size(), 1);
    buffers.push_back(std::move(*buffer));
  }
  // Half of the pool is free, but nowhere is there a page's worth of it in one page.
  EXPECT_FALSE(pool->Allocate(kMiB));
  EXPECT_TRUE(pool->Allocate(kMiB - 64));
}

TEST(HugePagePool, AlignmentHoldsForHostAndBus) {
  const auto pool = SmallPool(4);
  ASSERT_TRUE(pool);
  std::vector<DmaBuffer> buffers;
  for (const uint64_t alignment : {uint64_t{1}, uint64_t{64}, uint64_t{4096}, kMiB, 2 * kMiB}) {
    auto buffer = pool->Allocate(100, alignment);
    ASSERT_TRUE(buffer) << buffer.error().text;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % alignment, 0);
    EXPECT_EQ(buffer->BusAddress() % alignment, 0);
    buffers.push_back(std::move(*buffer));
  }
}

TEST(HugePagePool, RefusesRequestsThatMakeNoSense) {
  const auto pool = SmallPool(1);
  ASSERT_TRUE(pool);
  EXPECT_EQ(pool->Allocate(0).error().code, Nerr::kInvalid);
  EXPECT_EQ(pool->Allocate(64, 0).error().code, Nerr::kInvalid);
  EXPECT_EQ(pool->Allocate(64, 48).error().code, Nerr::kInvalid);
  EXPECT_EQ(pool->Allocate(64, 4 * kMiB).error().code, Nerr::kInvalid);
  EXPECT_EQ(pool->Allocate(~uint64_t{0}).error().code, Nerr::kResource);
}

TEST(HugePagePool, ExhaustionSaysHowMuchThereIs) {
  const auto pool = SmallPool(2);
  ASSERT_TRUE(pool);
  auto buffer = pool->Allocate(3 * kMiB);
  ASSERT_TRUE(buffer);
  const auto refused = pool->Allocate(2 * kMiB);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kResource);
  EXPECT_THAT(
      refused.error().text,
      StartsWith("Failed to alloc hugetlb: wanted 2097152 bytes aligned to 64, free 1048576 "
                 "of 4194304, largest free block 1048576"));
  *buffer = DmaBuffer();
  EXPECT_TRUE(pool->Allocate(4 * kMiB));
}

TEST(HugePagePool, BuffersGoBackOnceWhereverTheyAreMoved) {
  const auto pool = SmallPool(2);
  ASSERT_TRUE(pool);
  auto first = pool->Allocate(1000);
  auto second = pool->Allocate(2000);
  DmaBuffer moved = std::move(*first);
  EXPECT_FALSE(*first);
  EXPECT_EQ(first->size(), 0);
  EXPECT_TRUE(first->segments().empty());
  EXPECT_EQ(moved.segments().size(), 1);
  EXPECT_EQ(pool->Stats().used_bytes, 3000);
  moved = std::move(*second);
  EXPECT_EQ(moved.size(), 2000);
  EXPECT_EQ(pool->Stats().used_bytes, 2000);
  moved = DmaBuffer();
  EXPECT_EQ(pool->Stats().used_bytes, 0);
  EXPECT_EQ(pool->Stats().high_water_bytes, 3000);
}

TEST(HugePagePool, ManyRoundsKeepContentsApartAndCoalesceToOneBlock) {
  const auto pool = SmallPool(4);
  ASSERT_TRUE(pool);
  std::mt19937_64 random(11);
  std::vector<DmaBuffer> held;
  uint64_t most = 0;
  for (int i = 0; i < 20000; ++i) {
    if (random() % 100 < 55 || held.empty()) {
      auto buffer = pool->Allocate(1 + random() % (256 * kKiB), uint64_t{1} << (random() % 13));
      if (!buffer) continue;
      // Stamped at both ends: an overlap would show when the other one looks.
      *buffer->data() = static_cast<std::byte>(buffer->size());
      buffer->data()[buffer->size() - 1] = static_cast<std::byte>(buffer->size());
      held.push_back(std::move(*buffer));
      most = std::max(most, pool->Stats().used_bytes);
    } else {
      std::swap(held[random() % held.size()], held.back());
      ASSERT_EQ(*held.back().data(), static_cast<std::byte>(held.back().size()));
      ASSERT_EQ(held.back().data()[held.back().size() - 1],
                static_cast<std::byte>(held.back().size()));
      held.pop_back();
    }
  }
  held.clear();
  const PoolStats stats = pool->Stats();
  EXPECT_EQ(stats.used_bytes, 0);
  EXPECT_EQ(stats.free_blocks, 1);
  EXPECT_EQ(stats.largest_free_bytes, stats.total_bytes);
  EXPECT_EQ(stats.total_bytes, 4 * kHugePageSize);
  EXPECT_EQ(stats.high_water_bytes, most);
}

TEST(HugePagePool, ThreadsShareIt) {
  const auto pool = SmallPool(2);
  ASSERT_TRUE(pool);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&pool, t] {
      for (int i = 0; i < 2000; ++i) {
        auto buffer = pool->Allocate(static_cast<uint64_t>(1 + (i * 7919 + t) % 50000));
        if (!buffer) continue;
        std::memset(buffer->data(), t, buffer->size());
        EXPECT_EQ(buffer->data()[buffer->size() / 2], static_cast<std::byte>(t));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(pool->Stats().used_bytes, 0);
  EXPECT_EQ(pool->Stats().free_blocks, 1);
}

}  // namespace
}  // namespace nrtd::memory
