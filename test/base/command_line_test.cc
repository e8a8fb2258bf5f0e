// SPDX-License-Identifier: Apache-2.0
#include "base/command_line.h"

#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nrtd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CommandLineTest : public ::testing::Test {
 protected:
  std::optional<int> Parse(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "program");
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    const auto exit_code = line_.Parse(static_cast<int>(arguments.size()), arguments.data());
    out_ = ::testing::internal::GetCapturedStdout();
    err_ = ::testing::internal::GetCapturedStderr();
    return exit_code;
  }

  CommandLine line_{"Does what it is told.", "program"};
  std::string out_, err_;
};

TEST_F(CommandLineTest, ValuesAreWhatIsGivenAndStayWhereNothingIs) {
  std::string file;
  double seconds = 1.5;
  std::optional<uint32_t> level;
  std::optional<uint32_t> other;
  std::vector<std::string> names;
  bool quiet = false;
  line_.AddOption("FILE", &file).Required();
  line_.AddOption("--seconds", &seconds);
  line_.AddOption("-l,--level", &level);
  line_.AddOption("--other", &other);
  line_.AddOption("--name", &names);
  line_.AddFlag("--quiet", &quiet, "say nothing");
  EXPECT_EQ(Parse({"a", "-l", "7", "--name", "x", "--name=y", "--quiet"}), std::nullopt);
  EXPECT_EQ(file, "a");
  EXPECT_EQ(seconds, 1.5);
  EXPECT_EQ(level, 7U);
  EXPECT_EQ(other, std::nullopt);
  EXPECT_THAT(names, ElementsAre("x", "y"));
  EXPECT_TRUE(quiet);
}

TEST_F(CommandLineTest, WrongUsageEndsWithTwoAndSaysWhatIsWrong) {
  uint16_t port = 0;
  std::string cast = "all";
  double share = 0;
  line_.AddOption("--port", &port).Range(1, 9000);
  line_.AddOption("--cast", &cast).OneOf({"all", "none"});
  line_.AddOption("--share", &share).Positive();
  for (const auto& [arguments, problem] :
       {std::pair{std::vector<const char*>{"--port", "70000"}, "--port"},
        {{"--port", "9001"}, "9000"},
        {{"--port", "-1"}, "--port"},
        {{"--port", "http"}, "http"},
        {{"--cast", "some"}, "some"},
        {{"--share", "0"}, "--share"},
        {{"--nonsense"}, "--nonsense"}}) {
    EXPECT_EQ(Parse(arguments), kExitUsage) << problem;
    EXPECT_THAT(err_, HasSubstr(problem));
    EXPECT_EQ(out_, "");
  }
}

TEST_F(CommandLineTest, NumbersThatTheTypeDoesNotHoldAreWrongUsage) {
  uint16_t port = 7;
  int count = 7;
  uint32_t size = 7;
  line_.AddOption("--port", &port);
  line_.AddOption("--count", &count);
  line_.AddOption("--size", &size);
  for (const std::vector<const char*>& arguments : {std::vector<const char*>{"--port", "65536"},
                                                    {"--port", "-1"},
                                                    {"--count", "3000000000"},
                                                    {"--count", "1.5"},
                                                    {"--size", "4294967296"},
                                                    {"--size", "-1"}}) {
    EXPECT_EQ(Parse(arguments), kExitUsage) << arguments[0] << " " << arguments[1];
  }
}

TEST_F(CommandLineTest, HelpAndVersionArePrintedAndEndWithZero) {
  int count = 4;
  std::string cast = "all";
  line_.AddOption("--count", &count, "how many");
  line_.AddOption("--cast", &cast, "what").OneOfInAnyCase({"ALL", "NONE"});
  line_.ShowDefaults();
  line_.AddVersion("--version", "program 1.2");
  EXPECT_EQ(Parse({"--help"}), 0);
  EXPECT_THAT(out_, HasSubstr("Does what it is told."));
  EXPECT_THAT(out_, HasSubstr("=4"));
  EXPECT_EQ(Parse({"--version"}), 0);
  EXPECT_EQ(out_, "program 1.2\n");
}

TEST_F(CommandLineTest, OneOfTheCommandsRunsWithOptionsOfBoth) {
  std::string address;
  std::vector<uint32_t> sizes;
  std::string called;
  line_.AddOption("-a", &address);
  line_.RequireCommand();
  CommandLine& first = line_.AddCommand("first", "one");
  CommandLine& second = line_.AddCommand("second", "another");
  first.OnGiven([&] { called += "first"; });
  second.OnGiven([&] { called += "second"; });
  second.AddOption("--sizes", &sizes).Separated(',').Positive();
  line_.AllowOptionsBehindCommands("-a may stand here too.");
  EXPECT_EQ(Parse({"second", "--sizes", "1,4", "-a", "here"}), std::nullopt);
  EXPECT_EQ(called, "second");
  EXPECT_TRUE(second.is_given());
  EXPECT_FALSE(first.is_given());
  EXPECT_THAT(sizes, ElementsAre(1, 4));
  EXPECT_EQ(address, "here");
  EXPECT_EQ(Parse({}), kExitUsage);
  EXPECT_EQ(Parse({"second", "--help"}), 0);
  EXPECT_THAT(out_, HasSubstr("-a may stand here too."));
}

TEST_F(CommandLineTest, OptionsNeedAndExcludeEachOther) {
  bool cores = false;
  bool extender = false;
  std::string resource;
  const Option with_cores = line_.AddFlag("--cores", &cores, "");
  line_.AddFlag("--extender", &extender, "").Excludes(with_cores);
  line_.AddOption("--resource", &resource).Needs(with_cores);
  EXPECT_EQ(Parse({"--resource", "x"}), kExitUsage);
  EXPECT_EQ(Parse({"--cores", "--extender"}), kExitUsage);
  EXPECT_EQ(Parse({"--cores", "--resource", "x"}), std::nullopt);
}

TEST_F(CommandLineTest, TheEnvironmentSaysWhatTheLineDoesNot) {
  std::string mode;
  line_.AddOption("--mode", &mode).Environment("NRTD_COMMAND_LINE_TEST");
  ASSERT_EQ(::setenv("NRTD_COMMAND_LINE_TEST", "by the environment", 1), 0);
  EXPECT_EQ(Parse({}), std::nullopt);
  EXPECT_EQ(mode, "by the environment");
  EXPECT_EQ(Parse({"--mode", "by the line"}), std::nullopt);
  EXPECT_EQ(mode, "by the line");
  ::unsetenv("NRTD_COMMAND_LINE_TEST");
}

TEST_F(CommandLineTest, WhatIsUnknownIsReturnedWhereItIsAllowed) {
  int port = 0;
  line_.AddOption("--port", &port);
  line_.AllowUnknown();
  EXPECT_EQ(Parse({"--port=3", "--use_tflite_model=true"}), std::nullopt);
  EXPECT_EQ(port, 3);
  EXPECT_THAT(line_.unknown(), ElementsAre("--use_tflite_model=true"));
}

}  // namespace
}  // namespace nrtd
