// SPDX-License-Identifier: Apache-2.0
#include "base/log_limiter.h"

#include <gtest/gtest.h>

namespace nrtd {
namespace {

constexpr LineRate kRate{.per_second = 2, .at_once = 5};

int Admitted(LogLimiter& limiter, std::string_view component, int lines) {
  int admitted = 0;
  for (int i = 0; i < lines; ++i) admitted += limiter.Admit(component).has_value() ? 1 : 0;
  return admitted;
}

TEST(LogLimiter, AFloodIsCutToTheBurstAndThenToTheRate) {
  ManualClock clock;
  LogLimiter limiter(clock, kRate);
  EXPECT_EQ(Admitted(limiter, "A", 1000), 5);
  clock.Advance(std::chrono::seconds(1));
  EXPECT_EQ(Admitted(limiter, "A", 1000), 2);
  clock.Advance(std::chrono::milliseconds(499));
  EXPECT_EQ(Admitted(limiter, "A", 1000), 0);
  clock.Advance(std::chrono::milliseconds(2));
  EXPECT_EQ(Admitted(limiter, "A", 1000), 1);
}

TEST(LogLimiter, TheNextLineTellsHowManyWereNotWritten) {
  ManualClock clock;
  LogLimiter limiter(clock, kRate);
  EXPECT_EQ(limiter.Admit("A"), 0U);
  EXPECT_EQ(Admitted(limiter, "A", 104), 4);
  clock.Advance(std::chrono::seconds(1));
  EXPECT_EQ(limiter.Admit("A"), 100U);
  EXPECT_EQ(limiter.Admit("A"), 0U);
}

TEST(LogLimiter, ComponentsDoNotSilenceEachOther) {
  ManualClock clock;
  LogLimiter limiter(clock, kRate);
  EXPECT_EQ(Admitted(limiter, "A", 1000), 5);
  EXPECT_EQ(limiter.Admit("B"), 0U);
}

TEST(LogLimiter, SilenceSavesNoMoreThanTheBurst) {
  ManualClock clock;
  LogLimiter limiter(clock, kRate);
  EXPECT_EQ(Admitted(limiter, "A", 5), 5);
  clock.Advance(std::chrono::hours(100));
  EXPECT_EQ(Admitted(limiter, "A", 1000), 5);
}

}  // namespace
}  // namespace nrtd
