// SPDX-License-Identifier: Apache-2.0
#include "base/aligned_memory.h"

#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "base/sanitized.h"
#include "base/sizes.h"

namespace nrtd {
namespace {

uint64_t Address(const AlignedMemory& memory) {
  return reinterpret_cast<uint64_t>(memory.data());
}

TEST(AlignedMemory, IsAlignedAndCanBeWrittenToItsEnd) {
  for (const uint64_t size : {uint64_t{1}, uint64_t{65}, 128 * kKiB - 1, 128 * kKiB, 2 * kMiB - 1,
                              2 * kMiB, 5 * kMiB + 3}) {
    SCOPED_TRACE(size);
    const AlignedMemory memory(size);
    EXPECT_EQ(memory.size(), size);
    EXPECT_EQ(Address(memory) % (size < 2 * kMiB ? 64 : 2 * kMiB), 0);
    std::memset(memory.data(), 1, size);
  }
  EXPECT_EQ(AlignedMemory().data(), nullptr);
  EXPECT_EQ(AlignedMemory(0).data(), nullptr);
}

TEST(AlignedMemory, StaysInPlaceWhenItMoves) {
  for (const uint64_t size : {kKiB, 3 * kMiB}) {
    AlignedMemory memory(size);
    const auto* place = memory.data();
    AlignedMemory other;
    other = std::move(memory);
    EXPECT_EQ(other.data(), place);
    EXPECT_EQ(other.size(), size);
    EXPECT_EQ(memory.size(), 0U);
    EXPECT_EQ(memory.data(), nullptr);
  }
}

TEST(AlignedMemory, ThrowsWhereThereIsNoMemory) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's allocator ends the process";
  for (const uint64_t size : {uint64_t{1} << 62, UINT64_MAX - kMiB, UINT64_MAX})
    EXPECT_THROW(AlignedMemory{size}, std::bad_alloc) << size;
}

// The allocator kept hundreds of megabytes of what a network had packed, long unloaded: each that
// it gives back to the system makes it keep larger ones.
TEST(AlignedMemory, OfALargeNetworkGoesBackToTheSystemAtOnce) {
  if (kSanitized) GTEST_SKIP() << "from the allocator there";
  for (const uint64_t size : {8 * kMiB, 4 * kMiB, 8 * kMiB, 2 * kMiB, kMiB, 128 * kKiB}) {
    std::byte* place = nullptr;
    {
      const AlignedMemory memory(size);
      place = memory.data();
      std::memset(place, 1, size);
    }
    unsigned char resident = 0;
    EXPECT_EQ(::mincore(place, 1, &resident), -1) << size;
    EXPECT_EQ(errno, ENOMEM);
  }
}

}  // namespace
}  // namespace nrtd
