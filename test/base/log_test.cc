// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <algorithm>
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

TEST(Log, AMessageIsOnePrintableLineOfBoundedLength) {
  testing::internal::CaptureStderr();
  InitLog({.level = LogLevel::kInfo, .console = true, .syslog = false});
  LogLine(LogLevel::kInfo, "TEST", "a\n\x1b[2J" + std::string(1 << 20, 'b'));
  Log(LogLevel::kInfo, "TEST", "{}", std::string(1 << 20, 'c'));
  InitLog({.console = false, .syslog = false});
  const std::string lines = testing::internal::GetCapturedStderr();
  EXPECT_THAT(lines, HasSubstr("[TEST] a\\n\\x1b[2Jbbb"));
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 2);
  EXPECT_EQ(lines.find('\x1b'), std::string::npos);
  EXPECT_LT(lines.size(), kMaxLogLine + 1000);
}

TEST(Log, AFloodOfLinesAboutClientsIsCutAndErrorsOfTheDaemonAreNot) {
  testing::internal::CaptureStderr();
  InitLog({.level = LogLevel::kInfo, .console = true, .syslog = false});
  for (int i = 0; i < 2000; ++i) LogForClient(LogLevel::kWarning, "TEST:Flood", "flood");
  for (int i = 0; i < 300; ++i) Log(LogLevel::kError, "TEST:Flood", "important");
  InitLog({.console = false, .syslog = false});
  const std::string lines = testing::internal::GetCapturedStderr();
  const auto count = [&](std::string_view word) {
    int found = 0;
    for (size_t at = lines.find(word); at != std::string::npos; at = lines.find(word, at + 1))
      ++found;
    return found;
  };
  EXPECT_GE(count("] flood"), 200);
  EXPECT_LT(count("] flood"), 1000);
  EXPECT_EQ(count("] important"), 300);
}

}  // namespace
}  // namespace nrtd
