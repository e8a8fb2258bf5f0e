// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <cerrno>
#include <memory>

#include <gtest/gtest.h>

namespace nrtd {
namespace {

Result<int> Half(int value) {
  if (value % 2 != 0) return Fail(Nerr::kInvalid, "{} is odd", value);
  return value / 2;
}

Result<void> CheckHalf(int value, bool* reached) {
  NRTD_TRY(Half(value));
  *reached = true;
  return {};
}

Result<std::string> QuarterText(int value) {
  NRTD_ASSIGN(const int half, Half(value));
  int quarter = 0;
  NRTD_ASSIGN(quarter, Half(half));
  return std::to_string(quarter);
}

Result<std::unique_ptr<int>> MakeOwned() {
  return std::make_unique<int>(5);
}

Result<int> TakeOwned() {
  NRTD_ASSIGN(std::unique_ptr<int> owned, MakeOwned());
  return *owned;
}

TEST(Error, FailFormatsTheText) {
  const Result<int> result = Half(3);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Nerr::kInvalid);
  EXPECT_EQ(result.error().text, "3 is odd");
}

TEST(Error, TryReturnsTheErrorOrGoesOn) {
  bool reached = false;
  EXPECT_EQ(CheckHalf(3, &reached).error().text, "3 is odd");
  EXPECT_FALSE(reached);
  EXPECT_TRUE(CheckHalf(4, &reached));
  EXPECT_TRUE(reached);
}

TEST(Error, AssignDeclaresAssignsOrReturnsTheError) {
  EXPECT_EQ(*QuarterText(8), "2");
  EXPECT_EQ(QuarterText(7).error().text, "7 is odd");
  EXPECT_EQ(QuarterText(6).error().text, "3 is odd");
}

TEST(Error, AssignMovesWhatCannotBeCopied) {
  EXPECT_EQ(*TakeOwned(), 5);
}

TEST(Error, InNamesThePlaceInFront) {
  const Error error = Error{Nerr::kTimeout, "2 s passed"}.In("sg00");
  EXPECT_EQ(error.code, Nerr::kTimeout);
  EXPECT_EQ(error.text, "sg00: 2 s passed");
}

TEST(Error, CodesHaveTheirNames) {
  EXPECT_EQ(NerrName(Nerr::kOk), "NERR_OK");
  EXPECT_EQ(NerrName(Nerr::kResourceNc), "NERR_RESOURCE_NC");
  EXPECT_EQ(NerrName(Nerr::kInferCompletedWithNumErr), "NERR_INFER_COMPLETED_WITH_NUM_ERR");
  EXPECT_EQ(NerrName(static_cast<Nerr>(77)), "NERR_77");
}

TEST(Error, ErrnoHasAText) {
  EXPECT_EQ(ErrnoText(EACCES), "Permission denied");
}

}  // namespace
}  // namespace nrtd
