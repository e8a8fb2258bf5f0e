// SPDX-License-Identifier: Apache-2.0
#include "memory/hugepage_counts.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/memory/system_fixture.h"

namespace nrtd::memory {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST(CheckHugePages, AsksForExactlyWhatIsMissingOnTopOfWhatIsThere) {
  const auto refused = CheckHugePages(128, {.total = 100, .free = 30, .reserved = 5});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kResource);
  EXPECT_THAT(refused.error().text, StartsWith("Attempt to preallocate 128 hugetlb pages failed!"));
  EXPECT_THAT(refused.error().text,
              HasSubstr("Wanted 128 huge pages of 2 MiB, free 30 of 100, 5 "));
  // 70 used and 5 promised stay so; 128 come on top.
  EXPECT_THAT(refused.error().text, EndsWith("run: sysctl -w vm.nr_hugepages=203"));
}

TEST(CheckHugePages, AMachineWithoutAnyIsToldTheNumberItself) {
  EXPECT_THAT(CheckHugePages(128, {}).error().text,
              EndsWith("free 0 of 0; run: sysctl -w vm.nr_hugepages=128"));
}

TEST(CheckHugePages, EnoughIsEnoughToThePage) {
  EXPECT_TRUE(CheckHugePages(25, {.total = 100, .free = 30, .reserved = 5}));
  EXPECT_FALSE(CheckHugePages(26, {.total = 100, .free = 30, .reserved = 5}));
}

TEST(CheckHugePages, PagesThatTheKernelMayStillAddCount) {
  EXPECT_TRUE(CheckHugePages(10, {.overcommit = 10}));
  EXPECT_FALSE(CheckHugePages(10, {.total = 1, .surplus = 1, .overcommit = 10}));
}

TEST(CheckHugePages, SurplusPagesAreNotPartOfTheSettingToRaise) {
  EXPECT_THAT(CheckHugePages(8, {.total = 12, .surplus = 2, .overcommit = 2}).error().text,
              EndsWith("vm.nr_hugepages=18"));
}

TEST(CheckHugePages, AShortNodeIsNamedAndMendedByItsOwnFile) {
  const std::string text = CheckHugePages(8, {.total = 4, .free = 3, .node = 1}).error().text;
  EXPECT_THAT(text, HasSubstr("free 3 of 4 on NUMA node 1"));
  EXPECT_THAT(text, EndsWith("run: echo 9 > /sys/devices/system/node/node1/hugepages/"
                             "hugepages-2048kB/nr_hugepages"));
}

class ReadHugePageCountsTest : public testing::Test {
 protected:
  void WriteCounts(const std::string& directory) {
    const std::string path = sysfs_.path() + directory + "/hugepages-2048kB";
    std::filesystem::create_directories(path);
    WriteText(path + "/nr_hugepages", "10\n");
    WriteText(path + "/free_hugepages", "7\n");
    WriteText(path + "/resv_hugepages", "3\n");
    WriteText(path + "/surplus_hugepages", "2\n");
    WriteText(path + "/nr_overcommit_hugepages", "6\n");
  }
  TemporaryDirectory sysfs_;
};

TEST_F(ReadHugePageCountsTest, ReadsTheMachine) {
  WriteCounts("/kernel/mm/hugepages");
  const auto counts = ReadHugePageCounts(-1, sysfs_.path());
  ASSERT_TRUE(counts) << counts.error().text;
  EXPECT_EQ(counts->total, 10);
  EXPECT_EQ(counts->free, 7);
  EXPECT_EQ(counts->reserved, 3);
  EXPECT_EQ(counts->surplus, 2);
  EXPECT_EQ(counts->overcommit, 6);
  EXPECT_EQ(counts->Available(), 8);
}

TEST_F(ReadHugePageCountsTest, ReadsOneNode) {
  WriteCounts("/devices/system/node/node1/hugepages");
  const auto counts = ReadHugePageCounts(1, sysfs_.path());
  ASSERT_TRUE(counts) << counts.error().text;
  EXPECT_EQ(counts->node, 1);
  EXPECT_EQ(counts->Available(), 7);
}

TEST_F(ReadHugePageCountsTest, AKernelWithoutThemIsAnErrorAndNotZero) {
  const auto counts = ReadHugePageCounts(-1, sysfs_.path());
  ASSERT_FALSE(counts);
  EXPECT_EQ(counts.error().code, Nerr::kResource);
  EXPECT_THAT(counts.error().text, HasSubstr("offers no huge pages of 2 MiB"));
}

TEST_F(ReadHugePageCountsTest, AFileWithoutANumberIsAnError) {
  WriteCounts("/kernel/mm/hugepages");
  WriteText(sysfs_.path() + "/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "many\n");
  EXPECT_FALSE(ReadHugePageCounts(-1, sysfs_.path()));
}

}  // namespace
}  // namespace nrtd::memory
