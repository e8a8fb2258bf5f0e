// SPDX-License-Identifier: Apache-2.0
#include "runtime/machine.h"

#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/sizes.h"
#include "driver_shim/device_lock.h"
#include "test/base/scratch_directory.h"
#include "test/must.h"

namespace nrtd::runtime {
namespace {

using testing::HasSubstr;

// Two devices, one of which somebody else has at first.
class MachineTest : public ::testing::Test {
 protected:
  MachineTest() {
    MachineOptions options;
    options.platform.simulate = "inf1.6xlarge";
    options.platform.selection.numbers = {2, 3};
    options.platform.lock_directory = folder_.path();
    options.pages_per_device = 8;
    options.allow_small_pages = true;
    machine_ = Must(Machine::Open(options, clock_));
  }

  const std::string kBdf = "0000:00:1f.0";
  const ScratchDirectory folder_;
  SteadyClock clock_;
  std::optional<DeviceLock> other_ = Must(DeviceLock::Take(folder_.path(), kBdf));
  std::unique_ptr<Machine> machine_;
};

TEST_F(MachineTest, ADeviceThatBecomesFreeIsTaken) {
  const auto refused = machine_->AddDevice(1, [] {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kHwError);
  other_.reset();
  Must(machine_->AddDevice(1, [] {}));
  EXPECT_THAT(machine_->devices(), testing::ElementsAre(0, 1));
  EXPECT_TRUE(machine_->platform().unavailable().empty());
}

// It was in service for a moment before groups could have its cores.
TEST_F(MachineTest, ADeviceIsInServiceOnlyWhenItsCoresCanBeHad) {
  other_.reset();
  int asked = 0;
  Must(machine_->AddDevice(1, [&] {
    ++asked;
    EXPECT_FALSE(machine_->has_device(1));
    Must(machine_->unit(1).copier->Write(DramAddress(1, 0, 0), ByteVector(64)));
  }));
  EXPECT_EQ(asked, 1);
  EXPECT_TRUE(machine_->has_device(1));
}

// What was made before the pool had nothing left once stayed on the device, with its lock.
TEST_F(MachineTest, ADeviceWhoseServiceFailedHalfwayCanBeTakenLater) {
  other_.reset();
  // All of the pool but a page, for the copier's staging buffer, and room for two cores' rings.
  std::vector<memory::DmaBuffer> taken;
  while (auto page = machine_->pool().Allocate(memory::kHugePageSize))
    taken.push_back(std::move(*page));
  ASSERT_GT(taken.size(), 3U);
  while (auto rest = machine_->pool().Allocate(4 * kKiB)) taken.push_back(std::move(*rest));
  taken.erase(taken.begin());
  taken.push_back(Must(machine_->pool().Allocate(memory::kHugePageSize - 512 * kKiB)));
  taken.erase(taken.begin() + 1);
  const uint64_t used = machine_->pool().Stats().used_bytes;

  const auto failed = machine_->AddDevice(1, [] {});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Nerr::kResource);
  EXPECT_FALSE(machine_->has_device(1));
  EXPECT_EQ(machine_->pool().Stats().used_bytes, used);
  const auto reasons = machine_->platform().unavailable();
  ASSERT_EQ(reasons.size(), 1U);
  EXPECT_THAT(reasons[0], HasSubstr(kBdf));
  EXPECT_THAT(reasons[0], HasSubstr("Failed to alloc hugetlb"));
  EXPECT_EQ(Must(DeviceLock::Holder(folder_.path(), kBdf)), 0);

  taken.clear();
  Must(machine_->AddDevice(1, [] {}));
  EXPECT_TRUE(machine_->has_device(1));
  EXPECT_TRUE(machine_->platform().unavailable().empty());
  Must(machine_->unit(1).copier->Write(DramAddress(1, 0, 0), ByteVector(64)));
}

}  // namespace
}  // namespace nrtd::runtime
