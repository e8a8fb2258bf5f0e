// SPDX-License-Identifier: Apache-2.0
#include "base/mapped_region.h"

#include <algorithm>
#include <functional>
#include <type_traits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/sizes.h"
#include "test/base/scratch_directory.h"

namespace nrtd {
namespace {

using testing::HasSubstr;

static_assert(!std::is_copy_constructible_v<MappedRegion>);
static_assert(!std::is_copy_assignable_v<MappedRegion>);
static_assert(std::is_nothrow_move_constructible_v<MappedRegion>);

MappedRegion OnePage() {
  auto region = MappedRegion::Allocate(4096);
  EXPECT_TRUE(region);
  return std::move(*region);
}

bool IsMapped(std::byte* page) {
  return ::msync(page, 4096, MS_ASYNC) == 0;
}

TEST(MappedRegion, UnmapsWhenDestroyed) {
  std::byte* page = nullptr;
  {
    const MappedRegion region = OnePage();
    page = region.data();
    EXPECT_TRUE(IsMapped(page));
  }
  EXPECT_FALSE(IsMapped(page));
}

TEST(MappedRegion, AMoveKeepsAddressAndContentsAndEmptiesTheSource) {
  MappedRegion source = OnePage();
  std::byte* page = source.data();
  page[7] = std::byte{1};
  const MappedRegion target(std::move(source));
  EXPECT_EQ(target.data(), page);
  EXPECT_EQ(target.size(), 4096);
  EXPECT_EQ(target.bytes()[7], std::byte{1});
  EXPECT_FALSE(source);
  EXPECT_EQ(source.data(), nullptr);
  EXPECT_EQ(source.size(), 0);
}

TEST(MappedRegion, AssignmentUnmapsWhatWasThere) {
  MappedRegion target = OnePage();
  std::byte* old_page = target.data();
  MappedRegion source = OnePage();
  std::byte* new_page = source.data();
  target = std::move(source);
  EXPECT_EQ(target.data(), new_page);
  EXPECT_FALSE(IsMapped(old_page));
  EXPECT_TRUE(IsMapped(new_page));
}

TEST(MappedRegion, SelfAssignmentKeepsIt) {
  MappedRegion region = OnePage();
  MappedRegion& same = region;
  region = std::move(same);
  EXPECT_TRUE(region);
  EXPECT_TRUE(IsMapped(region.data()));
}

// The kernel refuses to move a mapping of which only a part was asked to be of huge pages.
TEST(MappedRegion, GrowsAndShrinksWithWhatItHoldsAlsoInHugePages) {
  constexpr uint64_t kFirst = 5 * kMiB + 123;
  auto region = Result<MappedRegion>(MappedRegion());
  ASSERT_TRUE(region->Resize(kFirst));
  std::fill_n(region->data(), kFirst, std::byte{1});
  for (const uint64_t size : {64 * kMiB, 300 * kMiB, kFirst + 1}) {
    PreferHugePages(region->data(), region->size());
    const auto resized = region->Resize(size);
    ASSERT_TRUE(resized) << resized.error().text;
    EXPECT_EQ(region->size(), size);
    EXPECT_EQ(std::ranges::count(region->bytes().first(kFirst), std::byte{1}), kFirst);
    EXPECT_EQ(region->bytes()[kFirst], std::byte{0});
  }
  EXPECT_EQ(region->Resize(0).error().code, Nerr::kInvalid);
  EXPECT_EQ(region->Resize(uint64_t{1} << 60).error().code, Nerr::kResource);
  EXPECT_EQ(region->size(), kFirst + 1);
}

TEST(MappedRegion, ImpossibleMappingsAreErrors) {
  EXPECT_EQ(MappedRegion::Map(0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS).error().code,
            Nerr::kInvalid);
  const auto too_large =
      MappedRegion::Map(uint64_t{1} << 60, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS);
  ASSERT_FALSE(too_large);
  EXPECT_EQ(too_large.error().code, Nerr::kResource);
  EXPECT_THAT(too_large.error().text, HasSubstr("Cannot allocate memory"));
}

TEST(MappedRegion, AFileIsMappedWhole) {
  const ScratchDirectory scratch;
  ASSERT_TRUE(WriteFileAtomically(scratch.File("f"), AsBytes("content")));
  const auto region = MappedRegion::MapFile(scratch.File("f"));
  ASSERT_TRUE(region);
  EXPECT_EQ(AsText(region->bytes()), "content");
}

TEST(MappedRegion, FilesThatCannotBeMappedAreNamed) {
  const ScratchDirectory scratch;
  ASSERT_TRUE(WriteFileAtomically(scratch.File("empty"), {}));
  const auto copy = [](const std::string& path) { return MappedRegion::CopyFile(path); };
  using Open = std::function<Result<MappedRegion>(const std::string&)>;
  for (const Open& open : {Open(MappedRegion::MapFile), Open(copy)}) {
    for (const std::string& path : {scratch.File("empty"), scratch.File("none"), scratch.path()}) {
      const auto refused = open(path);
      ASSERT_FALSE(refused) << path;
      EXPECT_EQ(refused.error().code, Nerr::kInvalid);
      EXPECT_THAT(refused.error().text, HasSubstr(path));
    }
  }
}

TEST(MappedRegion, ACopyOutlivesItsFile) {
  const ScratchDirectory scratch;
  const std::string content(100'000, 'c');
  ASSERT_TRUE(WriteFileAtomically(scratch.File("f"), AsBytes(content)));
  const auto region = MappedRegion::CopyFile(scratch.File("f"));
  ASSERT_TRUE(region);
  ASSERT_EQ(::truncate(scratch.File("f").c_str(), 0), 0);
  EXPECT_EQ(AsText(region->bytes()), content);
}

TEST(MappedRegion, AFileBeyondTheLimitIsNotCopied) {
  const ScratchDirectory scratch;
  ASSERT_TRUE(WriteFileAtomically(scratch.File("f"), AsBytes(std::string("1234"))));
  // Sparse: it takes no room, and would take terabytes of memory.
  ASSERT_EQ(::truncate(scratch.File("f").c_str(), off_t{1} << 42), 0);
  const auto refused = MappedRegion::CopyFile(scratch.File("f"), 4096);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text, HasSubstr("larger than the limit of 4096"));
}

TEST(MappedRegion, AFifoIsRefusedWithoutWaitingForItsWriter) {
  const ScratchDirectory scratch;
  const std::string fifo = scratch.File("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const auto refused = MappedRegion::MapFile(fifo);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kInvalid);
  EXPECT_THAT(refused.error().text, HasSubstr("not a regular file"));
}

}  // namespace
}  // namespace nrtd
