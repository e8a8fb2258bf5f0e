// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace nrtd {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

TEST(Log, ErrorsAndWarningsAreCountedApart) {
  InitLog({.level = LogLevel::kTrace, .console = false, .syslog = false});
  const uint64_t errors = LoggedErrors();
  const uint64_t warnings = LoggedWarnings();
  Log(LogLevel::kError, "TEST", "one");
  Log(LogLevel::kError, "TEST", "two");
  Log(LogLevel::kWarning, "TEST", "three");
  Log(LogLevel::kInfo, "TEST", "four");
  EXPECT_EQ(LoggedErrors() - errors, 2);
  EXPECT_EQ(LoggedWarnings() - warnings, 1);
}

TEST(Log, NoCountIsLostBetweenThreads) {
  InitLog({.console = false, .syslog = false});
  const uint64_t errors = LoggedErrors();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 500; ++i) Log(LogLevel::kError, "TEST", "{}", i);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(LoggedErrors() - errors, 2000);
}

TEST(Log, TheLevelDecidesWhatIsWrittenAndFormatted) {
  InitLog({.level = LogLevel::kWarning, .console = false, .syslog = false});
  EXPECT_TRUE(LogEnabled(LogLevel::kError));
  EXPECT_TRUE(LogEnabled(LogLevel::kWarning));
  EXPECT_FALSE(LogEnabled(LogLevel::kInfo));
  InitLog({.level = LogLevel::kError, .console = false, .syslog = false});
  const uint64_t warnings = LoggedWarnings();
  Log(LogLevel::kWarning, "TEST", "not written, not counted");
  EXPECT_EQ(LoggedWarnings(), warnings);
}

TEST(Log, ConsoleLinesHaveTheFormOperatorsKnow) {
  testing::internal::CaptureStderr();
  InitLog({.level = LogLevel::kInfo, .console = true, .syslog = false});
  Log(LogLevel::kInfo, "TDRV:reset", "Resetting {}", "0000:00:1f.0");
  Log(LogLevel::kDebug, "TDRV:reset", "too detailed");
  InitLog({.console = false, .syslog = false});
  const std::string line = testing::internal::GetCapturedStderr();
  EXPECT_THAT(
      line, HasSubstr(fmt::format("nrtd[{}]: [TDRV:reset] Resetting 0000:00:1f.0\n", ::getpid())));
  EXPECT_THAT(line, Not(HasSubstr("too detailed")));
}

TEST(Log, BracesInAMessageAreNotFormatted) {
  testing::internal::CaptureStderr();
  InitLog({.level = LogLevel::kInfo, .console = true, .syslog = false});
  LogLine(LogLevel::kInfo, "TEST", "a {} b %s");
  InitLog({.console = false, .syslog = false});
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("[TEST] a {} b %s\n"));
}

}  // namespace
}  // namespace nrtd
