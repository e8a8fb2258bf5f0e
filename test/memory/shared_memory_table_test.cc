// SPDX-License-Identifier: Apache-2.0
#include "memory/shared_memory_table.h"

#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include "base/sizes.h"
#include "test/memory/client_shm.h"
#include "test/memory/system_fixture.h"

namespace nrtd::memory {
namespace {

using testing::HasSubstr;

TEST(SharedMemoryTable, AMappedPathIsFoundUntilItIsUnmapped) {
  SharedMemoryTable table;
  ClientShm client(4096);
  ASSERT_TRUE(table.MapPosix(client.name(), kReadWrite));
  client.Unlink();
  client.data()[3] = std::byte{8};
  EXPECT_EQ((*(*table.Lookup(client.name()))->ReadRange(3, 1))[0], std::byte{8});
  EXPECT_EQ(table.bytes(), 4096);
  EXPECT_TRUE(table.Unmap(client.name()));
  EXPECT_EQ(table.size(), 0);
  const auto gone = table.Lookup(client.name());
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, Nerr::kInvalid);
  EXPECT_THAT(gone.error().text, HasSubstr(client.name()));
}

TEST(SharedMemoryTable, TwoMapCallsShareOneMappingAndNeedTwoUnmaps) {
  SharedMemoryTable table;
  ClientShm client(4096);
  const auto one = table.MapPosix(client.name(), kReadWrite);
  const auto two = table.MapPosix(client.name(), PROT_READ);
  ASSERT_TRUE(one && two);
  EXPECT_EQ(*one, *two);
  EXPECT_EQ(table.MapCount(client.name()), 2);
  EXPECT_EQ(table.size(), 1);
  EXPECT_TRUE(table.Unmap(client.name()));
  EXPECT_TRUE(table.Lookup(client.name()));
  EXPECT_TRUE(table.Unmap(client.name()));
  EXPECT_FALSE(table.Lookup(client.name()));
  EXPECT_FALSE(table.Unmap(client.name()));
}

TEST(SharedMemoryTable, AReadOnlyMappingDoesNotServeAWriter) {
  SharedMemoryTable table;
  ClientShm client(4096);
  const auto reader = table.MapPosix(client.name(), PROT_READ);
  const auto writer = table.MapPosix(client.name(), kReadWrite);
  ASSERT_TRUE(reader && writer);
  EXPECT_FALSE((*reader)->writable());
  EXPECT_TRUE((*table.Lookup(client.name()))->writable());
}

TEST(SharedMemoryTable, ANewFileOfTheSameNameWinsWhileItsUserKeepsTheOldOne) {
  SharedMemoryTable table;
  ClientShm old_client(4096);
  const auto old_memory = table.MapPosix(old_client.name(), kReadWrite);
  ASSERT_TRUE(old_memory);
  old_client.Unlink();
  ClientShm new_client(8192, old_client.name());
  ASSERT_TRUE(table.MapPosix(new_client.name(), kReadWrite));
  EXPECT_EQ((*table.Lookup(new_client.name()))->size(), 8192);
  EXPECT_EQ(table.size(), 2);
  old_client.data()[0] = std::byte{1};
  EXPECT_EQ((*(*old_memory)->ReadRange(0, 1))[0], std::byte{1});
  EXPECT_TRUE(table.Unmap(new_client.name()));
  EXPECT_EQ(*table.Lookup(new_client.name()), *old_memory);
  EXPECT_TRUE(table.Unmap(new_client.name()));
  old_client.data()[0] = std::byte{2};
  EXPECT_EQ((*(*old_memory)->ReadRange(0, 1))[0], std::byte{2});
}

TEST(SharedMemoryTable, MappingTheOlderFileAgainMakesItTheNewest) {
  SharedMemoryTable table;
  ClientShm first(4096);
  const std::string path = "/dev/shm" + first.name();
  const auto mapped_first = table.MapPosix(first.name(), kReadWrite);
  ASSERT_EQ(std::rename(path.c_str(), (path + ".aside").c_str()), 0);
  ClientShm second(4096, first.name());
  ASSERT_TRUE(table.MapPosix(first.name(), kReadWrite));
  ASSERT_EQ(std::rename((path + ".aside").c_str(), path.c_str()), 0);
  const auto again = table.MapPosix(first.name(), kReadWrite);
  ASSERT_TRUE(mapped_first && again);
  EXPECT_EQ(*again, *mapped_first);
  EXPECT_EQ(*table.Lookup(first.name()), *mapped_first);
}

TEST(SharedMemoryTable, AFileThatHasGrownIsMappedAnew) {
  SharedMemoryTable table;
  ClientShm client(4096);
  ASSERT_TRUE(table.MapPosix(client.name(), kReadWrite));
  client.Truncate(8192);
  ASSERT_TRUE(table.MapPosix(client.name(), kReadWrite));
  EXPECT_TRUE((*table.Lookup(client.name()))->Range(4096, 4096));
}

TEST(SharedMemoryTable, UnmappingWhatIsNotMappedNamesThePath) {
  SharedMemoryTable table;
  EXPECT_EQ(table.Unmap(std::string("/a\0b", 4)).error().text,
            "byte 2 of the path is NUL, which no path can have");
  const auto refused = table.Unmap("/nrtd-never-mapped");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kInvalid);
  EXPECT_THAT(refused.error().text, HasSubstr("/nrtd-never-mapped"));
}

TEST(SharedMemoryTable, AFailedMapLeavesNothingBehind) {
  SharedMemoryTable table;
  EXPECT_FALSE(table.MapPosix("/nrtd-test-there-is-none", kReadWrite));
  EXPECT_FALSE(table.MapHugetlb("/nrtd-test-there-is-none", 2 * kMiB, kReadWrite));
  EXPECT_EQ(table.size(), 0);
  EXPECT_FALSE(table.Lookup("/nrtd-test-there-is-none"));
}

TEST(SharedMemoryTable, ASessionTakesBackOnlyItsOwn) {
  SharedMemoryTable table;
  ClientShm client(4096);
  ASSERT_TRUE(table.MapPosix(client.name(), kReadWrite, {1}));
  ASSERT_TRUE(table.MapPosix(client.name(), kReadWrite, {2}));
  const auto refused = table.Unmap(client.name(), 3);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text, HasSubstr("by session 3"));
  EXPECT_TRUE(table.Unmap(client.name(), 1));
  EXPECT_FALSE(table.Unmap(client.name(), 1));
  EXPECT_TRUE(table.Lookup(client.name()));
  EXPECT_TRUE(table.Unmap(client.name()));  // no session named: anyone's
  EXPECT_FALSE(table.Lookup(client.name()));
}

TEST(SharedMemoryTable, ASessionsEndReleasesAllItsMapCalls) {
  SharedMemoryTable table;
  ClientShm own(4096);
  ClientShm shared(4096);
  ClientShm ownerless(4096);
  ASSERT_TRUE(table.MapPosix(own.name(), kReadWrite, {7}));
  ASSERT_TRUE(table.MapPosix(own.name(), kReadWrite, {7}));
  ASSERT_TRUE(table.MapPosix(shared.name(), kReadWrite, {7}));
  ASSERT_TRUE(table.MapPosix(shared.name(), kReadWrite, {8}));
  ASSERT_TRUE(table.MapPosix(ownerless.name(), kReadWrite));
  EXPECT_EQ(table.ReleaseOwner(7), 3);
  EXPECT_FALSE(table.Lookup(own.name()));
  EXPECT_TRUE(table.Lookup(shared.name()));
  EXPECT_EQ(table.ReleaseOwner(7), 0);
  EXPECT_EQ(table.ReleaseOwner(0), 0);
  EXPECT_TRUE(table.Lookup(ownerless.name()));
  EXPECT_EQ(table.ReleaseAll(), 2);
  EXPECT_EQ(table.size(), 0);
  EXPECT_EQ(table.ReleaseAll(), 0);
}

TEST(SharedMemoryTable, HugetlbFilesAreKeptByTheirPath) {
  TemporaryDirectory directory;
  PrivateMount mount(directory.path(), "hugetlbfs", "pagesize=2M");
  if (!mount.mounted()) GTEST_SKIP() << "needs CAP_SYS_ADMIN to mount a hugetlbfs";
  NRTD_REQUIRE_HUGE_PAGES(1);
  const std::string path = directory.path() + "/file";
  {
    UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
    ASSERT_EQ(::ftruncate(file.get(), 2 * kMiB), 0);
  }
  SharedMemoryTable table;
  const auto memory =
      table.MapHugetlb(path, 2 * kMiB, kReadWrite, {.owner = 5, .user = FileUser::OfThisProcess()});
  ASSERT_TRUE(memory) << memory.error().text;
  EXPECT_EQ(*table.Lookup(path), *memory);
  EXPECT_EQ(table.ReleaseOwner(5), 1);
}

TEST(SharedMemoryTable, ThreadsMapUseAndUnmapTheSamePath) {
  SharedMemoryTable table;
  ClientShm client(4096);
  std::vector<std::thread> threads;
  for (uint64_t owner = 1; owner <= 4; ++owner) {
    threads.emplace_back([&table, &client, owner] {
      for (int i = 0; i < 500; ++i) {
        const auto memory = table.MapPosix(client.name(), kReadWrite, {owner});
        ASSERT_TRUE(memory);
        const auto found = table.Lookup(client.name());
        ASSERT_TRUE(found);
        EXPECT_TRUE((*found)->Range(0, 4096));
        if (i % 2 == 0) {
          EXPECT_TRUE(table.Unmap(client.name(), owner));
        } else {
          EXPECT_EQ(table.ReleaseOwner(owner), 1);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(table.size(), 0);
}

}  // namespace
}  // namespace nrtd::memory
