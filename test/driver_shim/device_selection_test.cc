// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/device_selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nrtd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::vector<std::string> kChain = {"0000:00:1c.0", "0000:00:1d.0", "0000:00:1e.0",
                                         "0000:00:1f.0"};

std::vector<uint32_t> Selected(const DeviceSelection& selection) {
  auto devices = SelectDevices(kChain, selection);
  EXPECT_TRUE(devices) << devices.error().text;
  return devices.value_or(std::vector<uint32_t>{});
}
std::string Refused(const DeviceSelection& selection) {
  const auto devices = SelectDevices(kChain, selection);
  EXPECT_FALSE(devices);
  if (devices) return "";
  EXPECT_EQ(devices.error().code, Nerr::kInvalid);
  return devices.error().text;
}

TEST(DeviceSelection, WithoutAWishAllDevicesAreTaken) {
  EXPECT_THAT(Selected({}), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(Selected({.visible = ""}), ElementsAre(0, 1, 2, 3));
}

TEST(DeviceSelection, ByAddressWithAndWithoutDomainInAnyOrder) {
  EXPECT_THAT(Selected({.bdfs = {"0000:00:1f.0", "00:1e.0"}}), ElementsAre(2, 3));
  EXPECT_THAT(Selected({.bdfs = {"00:1c.0", "00:1c.0"}}), ElementsAre(0));
}

TEST(DeviceSelection, ByNumber) {
  EXPECT_THAT(Selected({.numbers = {2, 1}}), ElementsAre(1, 2));
  EXPECT_THAT(Refused({.numbers = {4}}), HasSubstr("there is no device 4; this machine has 0 ("));
}

TEST(DeviceSelection, TheCommandLineGoesBeforeTheFile) {
  EXPECT_THAT(Selected({.bdfs = {"00:1f.0"}, .numbers = {0}}), ElementsAre(3));
}

TEST(DeviceSelection, OnlyVisibleOnes) {
  EXPECT_THAT(Selected({.visible = "2,3"}), ElementsAre(2, 3));
  EXPECT_THAT(Selected({.numbers = {3}, .visible = "2,3"}), ElementsAre(3));
  EXPECT_THAT(Refused({.numbers = {1}, .visible = "2,3"}),
              HasSubstr("device 1 (0000:00:1d.0) is not among AWS_NEURON_VISIBLE_DEVICES=2,3"));
}

TEST(DeviceSelection, NonsenseIsNamed) {
  for (const char* list : {"x", "1,", "-1", "0, 1", "1;2", "99999999999", ",,"}) {
    const auto devices = SelectDevices(kChain, {.visible = list});
    if (std::string(list) == "1,") continue;  // a comma too many does no harm
    EXPECT_FALSE(devices) << list;
  }
  EXPECT_THAT(Refused({.visible = "two"}), HasSubstr("'two' is neither"));
  EXPECT_THAT(Refused({.visible = "7"}), HasSubstr("there is no device 7"));
  EXPECT_THAT(Refused({.bdfs = {"00:11.0"}}), HasSubstr("there is no Inferentia 00:11.0"));
}

TEST(DeviceSelection, GapsAreRefused) {
  EXPECT_THAT(Refused({.numbers = {0, 2}}), HasSubstr("devices 0,2 are not contiguous"));
  EXPECT_THAT(Refused({.visible = "0,3"}), HasSubstr("devices 0,3 are not contiguous"));
}

}  // namespace
}  // namespace nrtd
