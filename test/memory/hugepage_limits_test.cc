// SPDX-License-Identifier: Apache-2.0
//
// The pool on a machine that has not what it takes: an Error with the remedy, never a line on
// stderr by a library, never SIGBUS, and nothing left behind.
#include <cstring>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"
#include "base/sizes.h"
#include "memory/hugepage_pool.h"
#include "test/memory/system_fixture.h"

namespace nrtd::memory {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

constexpr int kIpcLock = 14;
const char* const kCounts = "/sys/kernel/mm/hugepages/hugepages-2048kB";

Error RefusedQuietly(const PoolOptions& options) {
  const uint64_t before = ProcessBytes("HugetlbPages");
  testing::internal::CaptureStderr();
  const auto pool = HugePagePool::Create(options);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(ProcessBytes("HugetlbPages"), before);
  EXPECT_FALSE(pool);
  return pool ? Error{} : pool.error();
}

TEST(HugePageLimits, AMillionPagesAreRefusedWithTheCommandThatMendsIt) {
  if (!ReadHugePageCounts()) GTEST_SKIP() << "this kernel has no huge pages of 2 MiB";
  const Error error = RefusedQuietly({.pages_per_device = 1'000'000});
  EXPECT_EQ(error.code, Nerr::kResource);
  EXPECT_THAT(error.text, StartsWith("Attempt to preallocate 1000000 hugetlb pages failed! Wanted "
                                     "1000000 huge pages of 2 MiB, free "));
  EXPECT_THAT(error.text, HasSubstr("; run: sysctl -w vm.nr_hugepages=1"));
}

TEST(HugePageLimits, ImpossibleSizesAreInvalid) {
  EXPECT_EQ(RefusedQuietly({.pages_per_device = 0}).code, Nerr::kInvalid);
  EXPECT_EQ(RefusedQuietly({.devices = 0}).code, Nerr::kInvalid);
  EXPECT_EQ(RefusedQuietly({.pages_per_device = uint64_t{1} << 60, .devices = 64}).code,
            Nerr::kInvalid);
  EXPECT_EQ(RefusedQuietly({.pages_per_device = uint64_t{1} << 50}).code, Nerr::kInvalid);
}

TEST(HugePageLimits, AnUnknownNumaNodeIsInvalid) {
  const Error error = RefusedQuietly({.pages_per_device = 1, .numa_node = 999});
  EXPECT_EQ(error.code, Nerr::kInvalid);
  EXPECT_THAT(error.text, HasSubstr("no NUMA node 999"));
}

// The counts say yes, the mapping fails all the same, and libhugetlbfs has nothing to warn of.
TEST(HugePageLimits, ALimitOnAddressSpaceIsAnError) {
  NRTD_REQUIRE_HUGE_PAGES(8);
  const WithLimit tight(RLIMIT_AS, ProcessBytes("VmSize") + 8 * kMiB);
  const Error error = RefusedQuietly({.pages_per_device = 8});
  EXPECT_EQ(error.code, Nerr::kResource);
  EXPECT_THAT(error.text, StartsWith("Attempt to preallocate 8 hugetlb pages failed!"));
  EXPECT_THAT(error.text, HasSubstr("`ulimit -v`"));
}

TEST(HugePageLimits, WhenNeitherKindOfPageCanBeHadTheErrorTellsBothReasons) {
  NRTD_REQUIRE_HUGE_PAGES(8);
  const WithLimit tight(RLIMIT_AS, ProcessBytes("VmSize") + 8 * kMiB);
  const Error error = RefusedQuietly({.pages_per_device = 8, .allow_small_pages = true});
  EXPECT_EQ(error.code, Nerr::kResource);
  EXPECT_THAT(error.text, StartsWith("Attempt to preallocate 8 hugetlb pages failed!"));
  EXPECT_THAT(error.text, HasSubstr("instead of huge pages: mmap of "));
}

TEST(HugePageLimits, WithoutTheRightToLockMemoryItSaysWhatToGrant) {
  if (!MlockIsReal()) GTEST_SKIP() << "the sanitizer's runtime ignores mlock()";
  const WithLimit little(RLIMIT_MEMLOCK, 64 * kKiB);
  const WithoutCapability none(kIpcLock);
  const Error small = RefusedQuietly({.pages_per_device = 2, .only_small_pages = true});
  EXPECT_EQ(small.code, Nerr::kResource);
  EXPECT_THAT(small.text, HasSubstr("cannot lock 4.0 MiB of memory"));
  EXPECT_THAT(small.text, HasSubstr("ulimit -l"));
  EXPECT_THAT(small.text, HasSubstr("CAP_IPC_LOCK"));
}

// A machine whose administrator has set no huge pages aside: its counts are zero.
class NoHugePages : public testing::Test {
 protected:
  NoHugePages() : counts_(kCounts, "tmpfs") {
    if (!counts_.mounted()) return;
    for (const char* name : {"nr_hugepages", "free_hugepages", "resv_hugepages",
                             "surplus_hugepages", "nr_overcommit_hugepages"})
      WriteText(fmt::format("{}/{}", kCounts, name), "0\n");
  }
  void SetUp() override {
    if (!counts_.mounted()) GTEST_SKIP() << "needs CAP_SYS_ADMIN to mount over sysfs";
  }
  PrivateMount counts_;
};

TEST_F(NoHugePages, TheDefaultPoolIsRefusedInTheDocumentedWords) {
  const Error error = RefusedQuietly({});
  EXPECT_EQ(error.text,
            "Attempt to preallocate 128 hugetlb pages failed! Wanted 128 huge pages of 2 MiB, free "
            "0 of 0; run: sysctl -w vm.nr_hugepages=128");
}

TEST_F(NoHugePages, SmallPagesStandInWhereTheyAreAllowedAndAWarningTellsSo) {
  testing::internal::CaptureStderr();
  const auto pool = HugePagePool::Create({.pages_per_device = 2, .allow_small_pages = true});
  const std::string log = testing::internal::GetCapturedStderr();
  ASSERT_TRUE(pool) << pool.error().text;
  EXPECT_FALSE((*pool)->uses_huge_pages());
  EXPECT_EQ((*pool)->addressing(), BusAddressing::kVirtual);
  EXPECT_TRUE((*pool)->Allocate(3 * kMiB));
  EXPECT_THAT(log, HasSubstr("using ordinary pages: Attempt to preallocate 2 hugetlb pages"));
}

// A container with a limit on huge pages, as Kubernetes makes them: the kernel has the pages free,
// maps them, and raises SIGBUS at the first touch of one too many.
class HugetlbCgroup : public testing::Test {
 protected:
  HugetlbCgroup() : mount_(directory_.path(), "cgroup2") {
    if (!mount_.mounted()) return;
    auto own = ReadTextFile("/proc/self/cgroup");
    const size_t at = own ? own->find("0::") : std::string::npos;
    if (at == std::string::npos) return;
    home_ = directory_.path() + own->substr(at + 3, own->find('\n', at) - at - 3);
    const auto enabled = ReadTextFile(directory_.path() + "/cgroup.subtree_control");
    enabled_here_ = enabled && enabled->find("hugetlb") == std::string::npos;
    if (enabled_here_) SwitchController("+hugetlb");
    group_ = fmt::format("{}/nrtd-test-{}", directory_.path(), ::getpid());
    std::error_code ignored;
    std::filesystem::create_directory(group_, ignored);
    ready_ = std::filesystem::exists(group_ + "/hugetlb.2MB.max", ignored);
  }
  void SetUp() override {
    if (!ready_) GTEST_SKIP() << "needs a cgroup v2 with the hugetlb controller and root";
  }
  ~HugetlbCgroup() override {
    if (group_.empty()) return;
    std::ofstream(home_ + "/cgroup.procs") << ::getpid() << std::flush;
    std::error_code ignored;
    std::filesystem::remove(group_, ignored);
    if (enabled_here_) SwitchController("-hugetlb");
  }
  void SwitchController(const char* how) {
    std::ofstream(directory_.path() + "/cgroup.subtree_control") << how << std::flush;
  }
  void Enter(uint64_t limit_bytes) {
    WriteText(group_ + "/hugetlb.2MB.max", std::to_string(limit_bytes));
    WriteText(group_ + "/cgroup.procs", std::to_string(::getpid()));
  }

  TemporaryDirectory directory_;
  PrivateMount mount_;
  std::string home_;
  std::string group_;
  bool enabled_here_ = false;
  bool ready_ = false;
};

// One test: the controller is switched on for it and off after it, for everyone.
TEST_F(HugetlbCgroup, APoolAboveItsLimitIsAnErrorAndNotSigbus) {
  NRTD_REQUIRE_HUGE_PAGES(6);
  Enter(0);
  const Error error = RefusedQuietly({.pages_per_device = 6});
  EXPECT_EQ(error.code, Nerr::kResource);
  EXPECT_THAT(error.text, StartsWith("Attempt to preallocate 6 hugetlb pages failed!"));
  EXPECT_THAT(error.text, HasSubstr("cgroup's hugetlb.2MB.max"));

  // One that gets only some of its pages serves those.
  Enter(3 * kHugePageSize);
  auto pool = HugePagePool::Create({.pages_per_device = 6, .addressing = BusAddressing::kVirtual});
  ASSERT_TRUE(pool) << pool.error().text;
  auto three = (*pool)->Allocate(3 * kHugePageSize);
  ASSERT_TRUE(three) << three.error().text;
  std::memset(three->data(), 1, three->size());
  const auto fourth = (*pool)->Allocate(kHugePageSize);
  ASSERT_FALSE(fourth);
  EXPECT_EQ(fourth.error().code, Nerr::kResource);
  EXPECT_THAT(
      fourth.error().text,
      StartsWith("Failed to alloc hugetlb: Attempt to preallocate 6 hugetlb pages failed!"));
  EXPECT_EQ((*pool)->Stats().used_bytes, 3 * kHugePageSize);
  testing::internal::CaptureStderr();
  (*pool)->AddRemainingBehind();
  EXPECT_EQ((*pool)->pages()[5].bus_address, 0);
  pool->reset();
  (void)testing::internal::GetCapturedStderr();
  *three = DmaBuffer();

  // One at its limit is complete.
  const auto within =
      HugePagePool::Create({.pages_per_device = 3, .addressing = BusAddressing::kVirtual});
  ASSERT_TRUE(within) << within.error().text;
  EXPECT_NE((*within)->pages()[2].bus_address, 0);
}

}  // namespace
}  // namespace nrtd::memory
