// SPDX-License-Identifier: Apache-2.0
#include "memory/shared_memory.h"

#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sizes.h"
#include "memory/hugepage_counts.h"
#include "test/memory/client_shm.h"
#include "test/memory/system_fixture.h"

namespace nrtd::memory {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST(SharedMemory, DaemonAndClientSeeTheSameBytes) {
  ClientShm client(10'000);
  auto memory = SharedMemory::OpenPosix(client.name(), kReadWrite);
  ASSERT_TRUE(memory) << memory.error().text;
  EXPECT_EQ(memory->size(), 10'000);
  EXPECT_EQ(memory->path(), client.name());
  client.data()[9999] = std::byte{42};
  EXPECT_EQ((*memory->ReadRange(9999, 1))[0], std::byte{42});
  (*memory->Range(5000, 1))[0] = std::byte{43};
  EXPECT_EQ(client.data()[5000], std::byte{43});
}

TEST(SharedMemory, TheMappingOutlivesTheNameAndMoves) {
  ClientShm client(4096);
  auto memory = SharedMemory::OpenPosix(client.name(), kReadWrite);
  ASSERT_TRUE(memory);
  client.Unlink();
  EXPECT_FALSE(SharedMemory::OpenPosix(client.name(), kReadWrite));
  const SharedMemory moved = std::move(*memory);
  client.data()[1] = std::byte{9};
  EXPECT_EQ((*moved.ReadRange(0, 4096))[1], std::byte{9});
}

TEST(SharedMemory, RangesOutsideTheMappingAreRefused) {
  ClientShm client(4096);
  const auto memory = SharedMemory::OpenPosix(client.name(), kReadWrite);
  ASSERT_TRUE(memory);
  EXPECT_TRUE(memory->Range(4096, 0));
  EXPECT_TRUE(memory->Range(0, 4096));
  for (const auto& [offset, length] : std::vector<std::pair<uint64_t, uint64_t>>{
           {0, 4097}, {4096, 1}, {1, ~uint64_t{0}}, {~uint64_t{0}, 1}}) {
    const auto refused = memory->Range(offset, length);
    ASSERT_FALSE(refused) << offset << "+" << length;
    EXPECT_EQ(refused.error().code, Nerr::kInvalid);
    EXPECT_THAT(refused.error().text, HasSubstr(client.name()));
  }
}

TEST(SharedMemory, ATruncatedFileIsAnErrorBeforeItIsASignal) {
  ClientShm client(8192);
  const auto memory = SharedMemory::OpenPosix(client.name(), kReadWrite);
  ASSERT_TRUE(memory);
  client.Truncate(4096);
  EXPECT_TRUE(memory->Range(0, 4096));
  const auto refused = memory->ReadRange(4000, 1000);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kInvalid);
  EXPECT_THAT(refused.error().text, HasSubstr("truncated it from 8192 to 4096"));
}

TEST(SharedMemory, AFileThatGrowsIsUsableAsFarAsItWasMapped) {
  ClientShm client(4096);
  const auto memory = SharedMemory::OpenPosix(client.name(), kReadWrite);
  ASSERT_TRUE(memory);
  client.Truncate(1 * kMiB);
  EXPECT_TRUE(memory->Range(0, 4096));
  EXPECT_FALSE(memory->Range(0, 4097));
}

TEST(SharedMemory, AReadOnlyMappingGivesNothingToWrite) {
  ClientShm client(4096);
  const auto memory = SharedMemory::OpenPosix(client.name(), PROT_READ);
  ASSERT_TRUE(memory);
  EXPECT_FALSE(memory->writable());
  EXPECT_TRUE(memory->ReadRange(0, 10));
  EXPECT_EQ(memory->Range(0, 10).error().code, Nerr::kInvalid);
}

TEST(SharedMemory, OtherProtectionsAreRefused) {
  ClientShm client(4096);
  for (const int prot : {0, PROT_WRITE, PROT_READ | PROT_EXEC, kReadWrite | PROT_EXEC, -1})
    EXPECT_EQ(SharedMemory::OpenPosix(client.name(), prot).error().code, Nerr::kInvalid) << prot;
}

TEST(SharedMemory, OnlyNamesOfShmOpenAreAccepted) {
  for (const std::string& name :
       {std::string(), std::string("/"), std::string("/."), std::string("/.."), std::string("name"),
        std::string("/a/b"), std::string("/../etc/passwd"), std::string("//a"),
        std::string("../a")}) {
    const auto refused = SharedMemory::OpenPosix(name, PROT_READ);
    ASSERT_FALSE(refused) << name;
    EXPECT_EQ(refused.error().code, Nerr::kInvalid);
    EXPECT_THAT(refused.error().text, HasSubstr("is no name of shared memory")) << name;
  }
}

// The system would open what stands before it.
TEST(SharedMemory, ANulInAPathIsRefused) {
  const ClientShm client(4096);
  const std::string name = client.name() + std::string("\0b", 2);
  for (const auto& refused :
       {SharedMemory::OpenPosix(name, PROT_READ),
        SharedMemory::OpenHugetlb("/dev/shm" + name, kHugePageSize, PROT_READ)}) {
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Nerr::kInvalid);
    EXPECT_THAT(refused.error().text, HasSubstr("is NUL"));
  }
}

TEST(SharedMemory, AMissingFileIsNamedWithWhatToDo) {
  const auto refused = SharedMemory::OpenPosix("/nrtd-test-there-is-none", PROT_READ);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kInvalid);
  EXPECT_THAT(refused.error().text, HasSubstr("/nrtd-test-there-is-none"));
  EXPECT_THAT(refused.error().text, HasSubstr("inline"));
}

TEST(SharedMemory, AnEmptyFileIsRefused) {
  ClientShm client(0);
  const auto refused = SharedMemory::OpenPosix(client.name(), PROT_READ);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kInvalid);
  EXPECT_THAT(refused.error().text, HasSubstr("it is empty"));
}

TEST(SharedMemory, LinksFifosAndDirectoriesAreRefusedWithoutBlocking) {
  const std::string name = ClientShm::FreshName();
  const std::string path = "/dev/shm" + name;
  ASSERT_EQ(::symlink("/etc/passwd", path.c_str()), 0);
  EXPECT_THAT(SharedMemory::OpenPosix(name, PROT_READ).error().text,
              HasSubstr("it does not exist, or everyone or the daemon may not read it"));
  ::unlink(path.c_str());
  ASSERT_EQ(::mkfifo(path.c_str(), 0666), 0);
  ASSERT_EQ(::chmod(path.c_str(), 0666), 0);
  EXPECT_THAT(SharedMemory::OpenPosix(name, kReadWrite).error().text, HasSubstr("no regular file"));
  ::unlink(path.c_str());
  ASSERT_EQ(::mkdir(path.c_str(), 0777), 0);
  EXPECT_THAT(SharedMemory::OpenPosix(name, PROT_READ).error().text, HasSubstr("a folder"));
  ::rmdir(path.c_str());
}

TEST(SharedMemory, IdentityTellsAFileFromItsSuccessorOfTheSameName) {
  ClientShm first(4096);
  const auto one = SharedMemory::OpenPosix(first.name(), PROT_READ);
  const auto again = SharedMemory::OpenPosix(first.name(), PROT_READ);
  first.Unlink();
  ClientShm second(4096, first.name());
  const auto other = SharedMemory::OpenPosix(first.name(), PROT_READ);
  ASSERT_TRUE(one && again && other);
  EXPECT_EQ(one->identity(), again->identity());
  EXPECT_NE(one->identity(), other->identity());
}

// A hugetlbfs of at most 4 pages, visible to this test only.
class HugetlbSharedMemory : public testing::Test {
 protected:
  HugetlbSharedMemory() : mount_(directory_.path(), "hugetlbfs", "pagesize=2M,size=8M") {}
  void SetUp() override {
    if (!mount_.mounted()) GTEST_SKIP() << "needs CAP_SYS_ADMIN to mount a hugetlbfs";
    NRTD_REQUIRE_HUGE_PAGES(4);
  }
  std::string File(uint64_t size) {
    const std::string path = directory_.path() + "/file";
    UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
    EXPECT_EQ(::ftruncate(file.get(), static_cast<off_t>(size)), 0);
    return path;
  }
  void ExpectRefused(const std::string& path, uint64_t size, Nerr code, const std::string& why) {
    const auto refused =
        SharedMemory::OpenHugetlb(path, size, kReadWrite, FileUser::OfThisProcess());
    ASSERT_FALSE(refused) << why;
    EXPECT_EQ(refused.error().code, code) << refused.error().text;
    EXPECT_THAT(refused.error().text, StartsWith("Failed to mmap with hugetlb: " + path + ": "));
    EXPECT_THAT(refused.error().text, HasSubstr(why));
  }
  TemporaryDirectory directory_;
  PrivateMount mount_;
};

TEST_F(HugetlbSharedMemory, IsMappedInHugePagesAndFaultedIn) {
  const std::string path = File(3 * kHugePageSize);
  const uint64_t before = ProcessBytes("HugetlbPages");
  const auto memory =
      SharedMemory::OpenHugetlb(path, 2 * kHugePageSize, kReadWrite, FileUser::OfThisProcess());
  ASSERT_TRUE(memory) << memory.error().text;
  EXPECT_TRUE(memory->hugetlb());
  EXPECT_EQ(memory->size(), 2 * kHugePageSize);
  EXPECT_EQ(ProcessBytes("HugetlbPages"), before + 2 * kHugePageSize);
  UniqueFd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  const auto client = MappedRegion::Map(kHugePageSize, kReadWrite, MAP_SHARED, &file);
  ASSERT_TRUE(client);
  client->data()[77] = std::byte{5};
  EXPECT_EQ((*memory->ReadRange(77, 1))[0], std::byte{5});
}

TEST_F(HugetlbSharedMemory, ReadOnlyWorksToo) {
  const auto memory = SharedMemory::OpenHugetlb(File(kHugePageSize), kHugePageSize, PROT_READ,
                                                FileUser::OfThisProcess());
  ASSERT_TRUE(memory) << memory.error().text;
  EXPECT_EQ((*memory->ReadRange(kMiB, 1))[0], std::byte{0});
}

TEST_F(HugetlbSharedMemory, SizesThatDoNotFitAreRefused) {
  const std::string path = File(2 * kHugePageSize);
  ExpectRefused(path, 0, Nerr::kInvalid, "not a multiple");
  ExpectRefused(path, kMiB, Nerr::kInvalid, "not a multiple");
  ExpectRefused(path, 3 * kHugePageSize, Nerr::kInvalid, "more than the file's");
}

TEST_F(HugetlbSharedMemory, MorePagesThanThereAreIsAnErrorAndNotSigbus) {
  ExpectRefused(File(6 * kHugePageSize), 6 * kHugePageSize, Nerr::kResource, "mmap of");
}

TEST_F(HugetlbSharedMemory, APathMayLeadThereThroughLinksAndParents) {
  const std::string path = File(kHugePageSize);
  const TemporaryDirectory elsewhere;
  const std::string link = elsewhere.path() + "/link";
  ASSERT_EQ(::symlink(path.c_str(), link.c_str()), 0);
  const auto memory =
      SharedMemory::OpenHugetlb(elsewhere.path() + "/.././" + link.substr(link.find('/', 1) + 1),
                                kHugePageSize, PROT_READ, FileUser::OfThisProcess());
  EXPECT_TRUE(memory) << memory.error().text;
}

TEST_F(HugetlbSharedMemory, APathThatLeadsElsewhereIsRefused) {
  const std::string path = File(kHugePageSize);
  ExpectRefused(directory_.path() + "/../file", kHugePageSize, Nerr::kInvalid, "does not exist");
  ExpectRefused(directory_.path() + "/absent", kHugePageSize, Nerr::kInvalid, "does not exist");
  ExpectRefused("file", kHugePageSize, Nerr::kInvalid, "absolute");
}

TEST_F(HugetlbSharedMemory, AFileInAFolderThatTheUserMayNotSearchIsRefused) {
  const std::string path = File(kHugePageSize);
  ASSERT_EQ(::chmod(path.c_str(), 0666), 0);
  ASSERT_EQ(::chmod(directory_.path().c_str(), 0700), 0);
  for (const FileUser& user : {FileUser(), FileUser::Of(65534, 65534)}) {
    const auto refused = SharedMemory::OpenHugetlb(path, kHugePageSize, kReadWrite, user);
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().text, HasSubstr(user.Text() + " or the daemon may not"));
  }
}

TEST(HugetlbSharedMemoryElsewhere, AnOrdinaryFileIsRefused) {
  ClientShm client(kHugePageSize);
  const auto refused =
      SharedMemory::OpenHugetlb("/dev/shm" + client.name(), kHugePageSize, kReadWrite);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text, StartsWith("Failed to mmap with hugetlb"));
  EXPECT_THAT(refused.error().text, HasSubstr("not on a hugetlbfs mount"));
}

}  // namespace
}  // namespace nrtd::memory
