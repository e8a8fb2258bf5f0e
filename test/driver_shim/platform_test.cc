// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/platform.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "base/file.h"
#include "test/driver_shim/sim_fixture.h"

namespace nrtd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(PlatformTest, SimulatesEveryPublicInstanceSize) {
  const std::pair<const char*, size_t> sizes[] = {
      {"inf1.xlarge", 1}, {"inf1.2xlarge", 1}, {"inf1.6xlarge", 4}, {"inf1.24xlarge", 16}};
  for (const auto& [name, devices] : sizes) {
    auto platform = Must(OpenPlatform({.simulate = name}));
    EXPECT_EQ(platform->devices().size(), devices) << name;
    EXPECT_TRUE(platform->simulated());
    for (Device* device : platform->devices()) {
      EXPECT_TRUE(device->info().simulated);
      EXPECT_EQ(device->info().cores, 4U);
    }
  }
}

TEST(PlatformTest, DevicesOfA6xlargeFormTheDocumentedChain) {
  auto platform = Must(OpenPlatform({.simulate = "inf1.6xlarge"}));
  std::vector<std::string> chain;
  for (Device* device : platform->devices()) chain.push_back(device->info().bdf);
  EXPECT_THAT(chain, ElementsAre("0000:00:1c.0", "0000:00:1d.0", "0000:00:1e.0", "0000:00:1f.0"));
  EXPECT_THAT(platform->devices()[0]->info().connected, ElementsAre(1));
  EXPECT_THAT(platform->devices()[1]->info().connected, ElementsAre(2, 0));
  EXPECT_THAT(platform->devices()[3]->info().connected, ElementsAre(2));
}

TEST(PlatformTest, AnUnknownSizeNamesTheKnownOnes) {
  const auto platform = OpenPlatform({.simulate = "inf9.huge"});
  ASSERT_FALSE(platform);
  EXPECT_EQ(platform.error().code, Nerr::kInvalid);
  EXPECT_THAT(platform.error().text, HasSubstr("inf9.huge"));
  EXPECT_THAT(platform.error().text, HasSubstr("inf1.24xlarge"));
}

class DeviceDirectoryTest : public ::testing::Test {
 protected:
  DeviceDirectoryTest() {
    std::string pattern = ::testing::TempDir() + "devXXXXXX";
    directory_ = ::mkdtemp(pattern.data());
  }
  ~DeviceDirectoryTest() override {
    ::unlink((directory_ + "/neuron0").c_str());
    ::rmdir(directory_.c_str());
  }
  std::string directory_;
};

TEST_F(DeviceDirectoryTest, WithoutDevicesOrSimulationItRefusesAndSaysHowToGoOn) {
  const auto platform = OpenPlatform({.simulate = "", .device_dir = directory_});
  ASSERT_FALSE(platform);
  EXPECT_EQ(platform.error().code, Nerr::kHwError);
  EXPECT_THAT(platform.error().text, HasSubstr("--sim inf1.xlarge"));
}

TEST_F(DeviceDirectoryTest, ARealDeviceIsNeverReplacedByASimulatedOne) {
  Must(WriteFileAtomically(directory_ + "/neuron0", AsBytes("x")));
  const auto platform = OpenPlatform({.simulate = "", .device_dir = directory_});
  ASSERT_FALSE(platform);
  EXPECT_THAT(platform.error().text, HasSubstr("neuron0"));
}

}  // namespace
}  // namespace nrtd
