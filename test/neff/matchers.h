// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gmock/gmock.h>

#include "base/error.h"

namespace nrtd::neff {

// EXPECT_THAT(result, FailsWith(Nerr::kInvalid, "part of the text"))
MATCHER_P2(FailsWith, code, text, "") {
  if (arg.has_value()) {
    *result_listener << "succeeded";
    return false;
  }
  *result_listener << NerrName(arg.error().code) << ": " << arg.error().text;
  return arg.error().code == code && arg.error().text.find(text) != std::string::npos;
}

// ASSERT_THAT(result, Succeeds())
MATCHER(Succeeds, "") {
  if (arg.has_value()) return true;
  *result_listener << NerrName(arg.error().code) << ": " << arg.error().text;
  return false;
}

}  // namespace nrtd::neff
