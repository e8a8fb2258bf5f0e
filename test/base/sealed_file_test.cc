// SPDX-License-Identifier: Apache-2.0
#include "base/sealed_file.h"

#include <algorithm>
#include <cerrno>

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

namespace nrtd {
namespace {

constexpr size_t kPage = 4096;

TEST(SealedFile, PartsBeginWithAPageAndAreFollowedByZeros) {
  const ByteVector one(5, std::byte{1});
  const ByteVector two(kPage + 1, std::byte{2});
  const auto file = SealedFile::Create({one, {}, two});
  ASSERT_TRUE(file) << file.error().text;
  EXPECT_EQ(file->bytes().size(), 3 * kPage);
  EXPECT_EQ(file->part(0).data(), file->bytes().data());
  EXPECT_TRUE(std::ranges::equal(file->part(0), one));
  EXPECT_EQ(file->part(1).size(), 0U);
  EXPECT_EQ(file->part(2).data() - file->bytes().data(), static_cast<std::ptrdiff_t>(kPage));
  EXPECT_TRUE(std::ranges::equal(file->part(2), two));
  EXPECT_EQ(file->bytes()[5], std::byte{0});
  EXPECT_EQ(file->bytes()[2 * kPage + 1], std::byte{0});
}

TEST(SealedFile, NobodyCanChangeItAndAPrivateMappingKeepsItsChangesToItself) {
  const ByteVector bytes(kPage, std::byte{7});
  const auto file = SealedFile::Create({bytes});
  ASSERT_TRUE(file);
  EXPECT_EQ(::pwrite(file->fd(), "x", 1, 0), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(::ftruncate(file->fd(), 0), -1);
  EXPECT_EQ(::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd(), 0), MAP_FAILED);
  void* mine = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, file->fd(), 0);
  ASSERT_NE(mine, MAP_FAILED);
  *static_cast<std::byte*>(mine) = std::byte{9};
  EXPECT_EQ(file->bytes()[0], std::byte{7});
  ::munmap(mine, kPage);
}

TEST(SealedFile, GivesWholePagesOfARangeBack) {
  const ByteVector bytes(4 * kPage, std::byte{7});
  const auto file = SealedFile::Create({bytes});
  ASSERT_TRUE(file);
  const auto blocks = [&] {
    struct stat info {};
    EXPECT_EQ(::fstat(file->fd(), &info), 0);
    return info.st_blocks * 512;
  };
  EXPECT_EQ(blocks(), 4 * kPage);
  void* mapped = ::mmap(nullptr, 4 * kPage, PROT_READ, MAP_PRIVATE, file->fd(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  const auto* seen = static_cast<const std::byte*>(mapped);
  EXPECT_EQ(seen[kPage], std::byte{7});
  file->Release(100, 3 * kPage);  // the pages in the middle
  EXPECT_EQ(blocks(), 2 * kPage);
  EXPECT_EQ(seen[kPage - 1], std::byte{7});
  EXPECT_EQ(seen[kPage], std::byte{0});
  EXPECT_EQ(seen[3 * kPage], std::byte{7});
  file->Release(kPage + 1, kPage);  // none
  EXPECT_EQ(file->bytes()[3 * kPage], std::byte{7});
  ::munmap(mapped, 4 * kPage);
}

TEST(SealedFile, WithoutBytesThereIsNoFile) {
  const auto file = SealedFile::Create({});
  ASSERT_TRUE(file);
  EXPECT_FALSE(*file);
  EXPECT_TRUE(file->bytes().empty());
}

TEST(SealedFile, WhatIsMadeOfItLivesAsLong) {
  auto made = std::make_shared<const int>(5);
  const std::weak_ptr<const int> seen = made;
  {
    const ByteVector bytes(10);
    SealedFile file = SealedFile::Create({bytes}).value();
    EXPECT_TRUE(file.Keep(made, kPage));
    EXPECT_TRUE(file.Keep(made, kPage));
    made.reset();
    auto one = std::make_shared<const int>(1);
    auto too_much = std::make_shared<const int>(2);
    const std::weak_ptr<const int> kept = one;
    const std::weak_ptr<const int> dropped = too_much;
    EXPECT_TRUE(file.Keep(std::move(one), kPage));
    EXPECT_FALSE(file.Keep(std::move(too_much), 1));  // twice the file's size is reached
    EXPECT_FALSE(kept.expired());
    too_much.reset();
    EXPECT_TRUE(dropped.expired());
    const SealedFile moved = std::move(file);
    EXPECT_FALSE(seen.expired());
  }
  EXPECT_TRUE(seen.expired());
}

}  // namespace
}  // namespace nrtd
