// SPDX-License-Identifier: Apache-2.0
#include "base/sealed_memory.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

namespace nrtd {
namespace {

TEST(SealedMemory, PartsBeginWithAPageAndAreFollowedByZeros) {
  const ByteVector one(5, std::byte{1});
  const ByteVector two(kPage + 1, std::byte{2});
  const auto sealed = SealedMemory::Create({one, {}, two});
  ASSERT_TRUE(sealed) << sealed.error().text;
  EXPECT_EQ(sealed->bytes().size(), 3 * kPage);
  EXPECT_EQ(sealed->part(0).data(), sealed->bytes().data());
  EXPECT_TRUE(std::ranges::equal(sealed->part(0), one));
  EXPECT_EQ(sealed->part(1).size(), 0U);
  EXPECT_EQ(sealed->part(2).data() - sealed->bytes().data(), static_cast<std::ptrdiff_t>(kPage));
  EXPECT_TRUE(std::ranges::equal(sealed->part(2), two));
  EXPECT_EQ(sealed->bytes()[5], std::byte{0});
  EXPECT_EQ(sealed->bytes()[2 * kPage + 1], std::byte{0});
}

TEST(SealedMemory, NobodyCanWriteIt) {
  const ByteVector bytes(kPage, std::byte{7});
  const auto sealed = SealedMemory::Create({bytes});
  ASSERT_TRUE(sealed);
  // The system says it where a store of our own would end the process.
  const UniqueFd zeros(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(::read(zeros.get(), const_cast<std::byte*>(sealed->bytes().data()), 1), -1);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_EQ(sealed->bytes()[0], std::byte{7});
}

TEST(SealedMemory, GivesWholePagesOfARangeBack) {
  const ByteVector bytes(4 * kPage, std::byte{7});
  const auto sealed = SealedMemory::Create({bytes});
  ASSERT_TRUE(sealed);
  const auto resident = [&] {
    std::array<unsigned char, 4> pages{};
    EXPECT_EQ(::mincore(const_cast<std::byte*>(sealed->bytes().data()), 4 * kPage, pages.data()),
              0);
    return std::ranges::count_if(pages, [](unsigned char page) { return (page & 1) != 0; });
  };
  EXPECT_EQ(resident(), 4);
  sealed->Release(100, 3 * kPage);  // the pages in the middle
  EXPECT_EQ(resident(), 2);
  EXPECT_EQ(sealed->bytes()[kPage - 1], std::byte{7});
  EXPECT_EQ(sealed->bytes()[kPage], std::byte{0});
  EXPECT_EQ(sealed->bytes()[3 * kPage], std::byte{7});
  sealed->Release(kPage + 1, kPage);  // none
  EXPECT_EQ(sealed->bytes()[3 * kPage], std::byte{7});
}

// The kernel made huge pages of the few pages that stayed, and the others came back.
TEST(SealedMemory, WhatIsGivenBackStaysAway) {
  constexpr size_t kHuge = 2 << 20;
  constexpr int kCollapse = 25;  // MADV_COLLAPSE: what khugepaged does when it comes by
  const ByteVector bytes(2 * kHuge, std::byte{7});
  const auto sealed = SealedMemory::Create({bytes});
  ASSERT_TRUE(sealed);
  auto* const data = const_cast<std::byte*>(sealed->bytes().data());
  auto* const huge = reinterpret_cast<std::byte*>(
      AlignUp(reinterpret_cast<uintptr_t>(data), kHuge));  // there is one inside
  if (::madvise(huge, kHuge, kCollapse) != 0) GTEST_SKIP() << "no huge pages of this kind here";
  const auto offset = static_cast<uint64_t>(huge - data);
  sealed->Release(offset + kPage, kHuge - kPage);
  (void)::madvise(huge, kHuge, kCollapse);
  std::vector<unsigned char> pages(kHuge / kPage);
  ASSERT_EQ(::mincore(huge, kHuge, pages.data()), 0);
  EXPECT_EQ(std::ranges::count_if(pages, [](unsigned char page) { return (page & 1) != 0; }), 1);
}

TEST(SealedMemory, WithoutBytesThereIsNoMemory) {
  const auto sealed = SealedMemory::Create({});
  ASSERT_TRUE(sealed);
  EXPECT_FALSE(*sealed);
  EXPECT_TRUE(sealed->bytes().empty());
}

TEST(SealedMemory, WhatIsMadeOfItLivesAsLong) {
  auto made = std::make_shared<const int>(5);
  const std::weak_ptr<const int> seen = made;
  {
    const ByteVector bytes(10);
    SealedMemory sealed = SealedMemory::Create({bytes}).value();
    EXPECT_TRUE(sealed.Keep(made, kPage));
    EXPECT_TRUE(sealed.Keep(made, kPage));
    made.reset();
    auto one = std::make_shared<const int>(1);
    auto too_much = std::make_shared<const int>(2);
    const std::weak_ptr<const int> kept = one;
    const std::weak_ptr<const int> dropped = too_much;
    // The columns that packing rounds up: without them the last layers' weights stayed in memory
    // twice.
    EXPECT_TRUE(sealed.Keep(std::move(one), kPage + kPage / 4));
    EXPECT_FALSE(sealed.Keep(std::move(too_much), 1));
    EXPECT_FALSE(kept.expired());
    too_much.reset();
    EXPECT_TRUE(dropped.expired());
    const SealedMemory moved = std::move(sealed);
    EXPECT_FALSE(seen.expired());
  }
  EXPECT_TRUE(seen.expired());
}

}  // namespace
}  // namespace nrtd
