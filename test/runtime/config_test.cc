// SPDX-License-Identifier: Apache-2.0
#include "runtime/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/base/scratch_directory.h"

namespace nrtd::runtime {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ConfigTest : public testing::Test {
 protected:
  std::string Write(const std::string& text) {
    folder_.Write("file.json", text);
    return folder_.File("file.json");
  }
  Config Read(const std::string& text) {
    auto config = ReadConfig(Write(text));
    EXPECT_TRUE(config) << config.error().text;
    return config.value_or(Config{});
  }
  std::string Refused(const std::string& text) {
    const auto config = ReadConfig(Write(text));
    EXPECT_FALSE(config) << text;
    if (config) return "";
    EXPECT_EQ(config.error().code, Nerr::kInvalid);
    EXPECT_THAT(config.error().text, HasSubstr(folder_.File("file.json")));
    return config.error().text;
  }
  std::string InstanceRefused(const std::string& text) {
    const auto instance = ReadInstance(Write(text));
    EXPECT_FALSE(instance) << text;
    return instance ? "" : instance.error().text;
  }

  ScratchDirectory folder_;
};

TEST_F(ConfigTest, WhatItSaysIsReadAndTheRestIsUnset) {
  const Config config = Read(R"({
    "model_cache_count": 10,
    "default_timeout": 30,
    "default_ninfer": 8,
    "io_dma_data_host": 1,
    "isolation": "session",
    "operator_uids": [0, 1000]
  })");
  EXPECT_EQ(config.model_cache_count, 10U);
  EXPECT_EQ(config.default_timeout, 30U);
  EXPECT_EQ(config.default_ninfer, 8U);
  EXPECT_EQ(config.io_dma_data_host, true);
  EXPECT_EQ(config.isolation, "session");
  EXPECT_THAT(config.operator_uids, ElementsAre(0, 1000));
  EXPECT_FALSE(config.log_level);
  EXPECT_FALSE(config.socket_mode);
}

TEST_F(ConfigTest, AnEmptyObjectSaysNothing) {
  EXPECT_FALSE(Read("{}").default_ninfer);
}

TEST_F(ConfigTest, AWrongValueIsNamedWithFileLineKeyAndWhatWasExpected) {
  EXPECT_THAT(Refused("{\n  \"model_cache_count\": 1,\n  \"default_ninfer\": \"many\"\n}"),
              HasSubstr("line 3: key 'default_ninfer': a number from 1 to 1024 is expected, not "
                        "\"many\""));
  EXPECT_THAT(Refused(R"({"default_ninfer": 0})"), HasSubstr("not 0"));
  EXPECT_THAT(Refused(R"({"default_timeout": -1})"), HasSubstr("not -1"));
  EXPECT_THAT(Refused(R"({"default_timeout": 1.5})"), HasSubstr("not 1.5"));
  EXPECT_THAT(Refused(R"({"log_level": 8})"), HasSubstr("a number from 0 to 7"));
  EXPECT_THAT(Refused(R"({"isolation": "full"})"), HasSubstr("\"none\" or \"session\""));
  EXPECT_THAT(Refused(R"({"operator_uids": "root"})"), HasSubstr("a list of numbers"));
  EXPECT_THAT(Refused(R"({"operator_uids": [-5]})"), HasSubstr("a list of numbers"));
  EXPECT_THAT(Refused(R"({"reclaim_on_disconnect": "yes"})"), HasSubstr("true or false"));
  EXPECT_THAT(Refused(R"({"socket_mode": 660})"), HasSubstr("a text is expected"));
}

TEST_F(ConfigTest, WhatIsNoJsonIsNamedWithItsLine) {
  EXPECT_THAT(Refused("{\n\"a\": 1,\n}\n"), HasSubstr("line 3: this is no JSON"));
  EXPECT_THAT(Refused(""), HasSubstr("line 1: this is no JSON"));
  EXPECT_THAT(Refused("[1]"), HasSubstr("an object in braces is expected"));
}

TEST_F(ConfigTest, AMissingFileIsNamed) {
  const auto config = ReadConfig(folder_.File("none.json"));
  ASSERT_FALSE(config);
  EXPECT_THAT(config.error().text, HasSubstr("none.json"));
}

TEST_F(ConfigTest, KeysOfOtherVersionsAreLeftAlone) {
  EXPECT_EQ(Read(R"({"of_the_future": {}, "default_ninfer": 2})").default_ninfer, 2U);
}

TEST_F(ConfigTest, AnInstanceSaysWhereItListensAndItsDevices) {
  auto instance = ReadInstance(
      Write(R"({"name": "nrtd0", "server_port": "unix:/run/neuron.sock0", "devices": [0, 1]})"));
  ASSERT_TRUE(instance) << instance.error().text;
  EXPECT_EQ(instance->name, "nrtd0");
  EXPECT_EQ(instance->server_port, "unix:/run/neuron.sock0");
  EXPECT_THAT(instance->devices, ElementsAre(0, 1));
  // The key of the oldest files; the name is the file's.
  instance = ReadInstance(Write(R"({"server_port": "unix:/s", "infa_devices": [2]})"));
  ASSERT_TRUE(instance) << instance.error().text;
  EXPECT_EQ(instance->name, "file");
  EXPECT_THAT(instance->devices, ElementsAre(2));
}

TEST_F(ConfigTest, AnInstanceThatIsNotWholeIsRefused) {
  EXPECT_THAT(InstanceRefused(R"({"devices": [0]})"), HasSubstr("key 'server_port' is missing"));
  EXPECT_THAT(InstanceRefused(R"({"server_port": "unix:/s"})"),
              HasSubstr("key 'devices' is missing"));
  EXPECT_THAT(InstanceRefused(R"({"server_port": "unix:/s", "devices": ["0"]})"),
              HasSubstr("key 'devices': a list of numbers"));
}

TEST_F(ConfigTest, AnInstanceIsFoundByPathOrLookedFor) {
  EXPECT_EQ(FindInstanceFile("/some/where.json").value(), "/some/where.json");
  const auto missing = FindInstanceFile("nrtd-no-such-instance");
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().text,
              HasSubstr("nrtd-no-such-instance.json in /opt/aws/neuron/bin and"));
}

}  // namespace
}  // namespace nrtd::runtime
