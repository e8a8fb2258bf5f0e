// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/device_lock.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "driver_shim/platform.h"
#include "test/base/scratch_directory.h"

namespace nrtd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kBdf = "0000:00:1f.0";

// flock() is of the open file: a second one of the same process is somebody else, too.
TEST(DeviceLock, TheSecondIsToldWhoHasIt) {
  const ScratchDirectory folder;
  const std::string directory = folder.File("infa");
  const auto first = DeviceLock::Take(directory, kBdf);
  ASSERT_TRUE(first) << first.error().text;
  EXPECT_EQ(DeviceLock::Holder(directory, kBdf).value(), ::getpid());
  const auto second = DeviceLock::Take(directory, kBdf);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Nerr::kHwError);
  EXPECT_EQ(second.error().text,
            fmt::format("Failed to lock MLA. File {}/infa-{}.json is locked by pid {}", directory,
                        kBdf, ::getpid()));
  EXPECT_TRUE(DeviceLock::Take(directory, "0000:00:1e.0"));
}

TEST(DeviceLock, ItIsFreeAndItsFileGoneAfterwards) {
  const ScratchDirectory folder;
  for (int i = 0; i < 3; ++i) {
    const auto lock = DeviceLock::Take(folder.path(), kBdf);
    ASSERT_TRUE(lock) << lock.error().text;
  }
  EXPECT_FALSE(std::filesystem::exists(folder.File("infa-" + kBdf + ".json")));
  EXPECT_EQ(DeviceLock::Holder(folder.path(), kBdf).value(), 0);
}

TEST(DeviceLock, WhatADeadDaemonLeftIsTaken) {
  const ScratchDirectory folder;
  folder.Write("infa-" + kBdf + ".json", "{\"pid\": 1}");
  EXPECT_EQ(DeviceLock::Holder(folder.path(), kBdf).value(), 0);
  EXPECT_TRUE(DeviceLock::Take(folder.path(), kBdf));
}

TEST(DeviceLock, AFolderThatCannotBeIsAnError) {
  const auto lock = DeviceLock::Take("/proc/nrtd-no-such-folder", kBdf);
  ASSERT_FALSE(lock);
  EXPECT_EQ(lock.error().code, Nerr::kResource);
  EXPECT_THAT(lock.error().text, HasSubstr("needs write access"));
}

// Devices 0 and 1 of four are another's: the daemon goes on with the two that are left, and gets
// the others when they are free.
TEST(DeviceLock, AMachineServesTheDevicesThatAreFreeAndTakesTheOthersLater) {
  const ScratchDirectory folder;
  PlatformOptions options;
  options.simulate = "inf1.6xlarge";
  options.lock_directory = folder.path();
  options.selection.numbers = {0, 1};
  auto first = OpenPlatform(options);
  ASSERT_TRUE(first) << first.error().text;
  options.selection.numbers = {};
  const auto second = OpenPlatform(options);
  ASSERT_TRUE(second) << second.error().text;
  std::vector<std::string> had;
  for (Device* device : (*second)->devices())
    if ((*second)->has(device->info().index)) had.push_back(device->info().bdf);
  EXPECT_THAT(had, ElementsAre("0000:00:1e.0", "0000:00:1f.0"));
  EXPECT_THAT((*second)->devices()[2]->info().connected, ElementsAre(3, 1));
  EXPECT_THAT((*second)->unavailable(),
              ElementsAre(HasSubstr("infa-0000:00:1c.0.json is locked by pid"),
                          HasSubstr("infa-0000:00:1d.0.json is locked by pid")));
  const auto third = OpenPlatform(options);
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code, Nerr::kHwError);
  EXPECT_THAT(third.error().text, HasSubstr("infa-0000:00:1f.0.json is locked by pid"));
  EXPECT_EQ((*second)->Take(0).error().code, Nerr::kHwError);
  first->reset();
  ASSERT_TRUE((*second)->Take(0));
  EXPECT_TRUE((*second)->has(0));
  EXPECT_THAT((*second)->unavailable(),
              ElementsAre(HasSubstr("infa-0000:00:1d.0.json is locked by pid")));
  EXPECT_TRUE((*second)->Take(0)) << "what one has one can take";
}

}  // namespace
}  // namespace nrtd
