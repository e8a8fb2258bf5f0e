// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <atomic>
#include <filesystem>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/base/scratch_directory.h"

namespace nrtd {
namespace {

using testing::HasSubstr;

size_t EntriesOf(const std::string& directory) {
  const std::filesystem::directory_iterator entries(directory);
  return static_cast<size_t>(std::distance(begin(entries), end(entries)));
}

TEST(File, WhatIsWrittenIsRead) {
  const ScratchDirectory scratch;
  for (const size_t size : {size_t{0}, size_t{1}, size_t{4096}, size_t{4097}, size_t{1} << 20}) {
    const std::string content(size, 'x');
    ASSERT_TRUE(WriteFileAtomically(scratch.File("f"), AsBytes(content)));
    EXPECT_EQ(ReadTextFile(scratch.File("f")), content);
    EXPECT_EQ(AsText(*ReadFile(scratch.File("f"))), content);
  }
  EXPECT_EQ(EntriesOf(scratch.path()), 1);
}

TEST(File, FilesWhoseSizeIsUnknownAreReadToTheirEnd) {
  const auto maps = ReadTextFile("/proc/self/smaps");
  ASSERT_TRUE(maps);
  EXPECT_GT(maps->size(), 4096);
  EXPECT_THAT(*maps, HasSubstr("VmFlags"));
}

TEST(File, TheLimitIsExact) {
  const ScratchDirectory scratch;
  ASSERT_TRUE(WriteFileAtomically(scratch.File("f"), AsBytes("12345")));
  EXPECT_TRUE(ReadTextFile(scratch.File("f"), 5));
  const auto refused = ReadTextFile(scratch.File("f"), 4);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kInvalid);
  EXPECT_THAT(refused.error().text, HasSubstr("larger than 4 bytes"));
}

TEST(File, ErrorsNamePathAndReason) {
  const ScratchDirectory scratch;
  const auto missing = ReadFile(scratch.File("none"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Nerr::kInvalid);
  EXPECT_THAT(missing.error().text, HasSubstr(scratch.File("none")));
  EXPECT_THAT(missing.error().text, HasSubstr("No such file"));
  EXPECT_THAT(ReadFile(scratch.path()).error().text, HasSubstr("is a directory"));
  EXPECT_EQ(WriteFileAtomically(scratch.File("none/f"), {}).error().code, Nerr::kInvalid);
}

TEST(File, AFailedWriteLeavesTheOldContentAndNoDebris) {
  const ScratchDirectory scratch;
  // The target is a directory with something in it: rename() cannot replace that.
  std::filesystem::create_directories(scratch.File("target/inside"));
  const auto refused = WriteFileAtomically(scratch.File("target"), AsBytes("new"));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text, HasSubstr("cannot rename"));
  EXPECT_EQ(EntriesOf(scratch.path()), 1);
}

TEST(File, AWriteThatRunsOutOfSpaceKeepsTheOldContent) {
  // Writing to it fails with ENOSPC; a link lets the temporary file's name lead there.
  const ScratchDirectory scratch;
  ASSERT_TRUE(WriteFileAtomically(scratch.File("f"), AsBytes("old")));
  std::filesystem::create_symlink("/dev/full", scratch.File(fmt::format("f.{}.tmp", ::getpid())));
  const auto refused = WriteFileAtomically(scratch.File("f"), AsBytes("new"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kResource);
  EXPECT_THAT(refused.error().text, HasSubstr("No space left"));
  EXPECT_EQ(ReadTextFile(scratch.File("f")), "old");
  EXPECT_EQ(EntriesOf(scratch.path()), 1);
}

TEST(File, AReaderSeesTheOldOrTheNewContentButNoMixture) {
  const ScratchDirectory scratch;
  const std::string path = scratch.File("f");
  const std::string contents[] = {std::string(70'000, 'a'), std::string(50'000, 'b')};
  ASSERT_TRUE(WriteFileAtomically(path, AsBytes(contents[0])));
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (int i = 1; !stop.load(); ++i) {
      EXPECT_TRUE(WriteFileAtomically(path, AsBytes(contents[i % 2])));
    }
  });
  for (int i = 0; i < 300; ++i) {
    const auto seen = ReadTextFile(path);
    EXPECT_TRUE(seen && (*seen == contents[0] || *seen == contents[1]));
  }
  stop.store(true);
  writer.join();
}

}  // namespace
}  // namespace nrtd
