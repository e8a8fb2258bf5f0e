// SPDX-License-Identifier: Apache-2.0
#include "memory/pagemap.h"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include "base/mapped_region.h"
#include "base/sizes.h"
#include "test/memory/system_fixture.h"

namespace nrtd::memory {
namespace {

using testing::HasSubstr;

constexpr int kSysAdmin = 21;
constexpr uint64_t kPresent = uint64_t{1} << 63;
const void* const kAddress = reinterpret_cast<const void*>(uintptr_t{0x7f0000001234});

MappedRegion FourPages() {
  auto region = MappedRegion::Allocate(16 * kKiB);
  EXPECT_TRUE(region);
  return std::move(*region);
}

TEST(Pagemap, EntryHoldsFrameNumberBelowItsFlags) {
  const uint64_t flags = kPresent | uint64_t{1} << 61 | uint64_t{1} << 56 | uint64_t{1} << 55;
  EXPECT_EQ(Pagemap::Decode(flags | 0x12345, kAddress), 0x12345234);
}

TEST(Pagemap, AFrameNumberOfZeroIsAHiddenOne) {
  const auto hidden = Pagemap::Decode(kPresent, kAddress);
  ASSERT_FALSE(hidden);
  EXPECT_EQ(hidden.error().code, Nerr::kResource);
  EXPECT_THAT(hidden.error().text, HasSubstr("CAP_SYS_ADMIN"));
}

TEST(Pagemap, AnAbsentPageHasNoAddress) {
  const auto absent = Pagemap::Decode(0x12345, kAddress);
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, Nerr::kFail);
}

TEST(Pagemap, ReadsThePagesOfThisProcess) {
  NRTD_REQUIRE_PHYSICAL_ADDRESSES();
  const MappedRegion region = FourPages();
  region.data()[0] = std::byte{1};
  region.data()[8192] = std::byte{1};
  const auto pagemap = Pagemap::Open();
  ASSERT_TRUE(pagemap);
  const auto first = pagemap->PhysicalAddress(region.data());
  const auto third = pagemap->PhysicalAddress(region.data() + 8192 + 17);
  ASSERT_TRUE(first && third);
  EXPECT_NE(*first, 0);
  EXPECT_EQ(*first % 4096, 0);
  EXPECT_EQ(*third % 4096, 17);
  EXPECT_NE(*first / 4096, *third / 4096);
  EXPECT_EQ(pagemap->PhysicalAddress(region.data() + 4096).error().code, Nerr::kFail);
}

TEST(Pagemap, TwoMappingsOfOnePageHaveOnePhysicalAddress) {
  NRTD_REQUIRE_PHYSICAL_ADDRESSES();
  UniqueFd file(::memfd_create("nrtd-pagemap-test", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(file.get(), 4096), 0);
  auto one = MappedRegion::Map(4096, PROT_READ | PROT_WRITE, MAP_SHARED, &file);
  auto other = MappedRegion::Map(4096, PROT_READ | PROT_WRITE, MAP_SHARED, &file);
  ASSERT_TRUE(one && other);
  *one->data() = std::byte{1};
  ASSERT_EQ(*other->data(), std::byte{1});
  const auto pagemap = Pagemap::Open();
  EXPECT_EQ(*pagemap->PhysicalAddress(one->data()), *pagemap->PhysicalAddress(other->data()));
}

TEST(Pagemap, TheRightIsTheOpenersAndOutlivesTheCapability) {
  NRTD_REQUIRE_PHYSICAL_ADDRESSES();
  const MappedRegion region = FourPages();
  *region.data() = std::byte{1};
  const auto before = Pagemap::Open();
  const WithoutCapability none(kSysAdmin);
  EXPECT_TRUE(before->PhysicalAddress(region.data()));
  const auto after = Pagemap::Open();
  ASSERT_TRUE(after);
  EXPECT_EQ(after->PhysicalAddress(region.data()).error().code, Nerr::kResource);
}

}  // namespace
}  // namespace nrtd::memory
