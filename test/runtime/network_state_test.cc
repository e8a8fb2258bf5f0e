// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/network_state.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nrtd::runtime {
namespace {

using enum NetworkState;
using ::testing::HasSubstr;

constexpr NetworkState kStates[] = {kLoading,  kStandby, kStarting, kRunning,
                                    kStopping, kFailed,  kUnloading};

// Rows: from; columns: to; both in the order of kStates. The lines of network_state.h.
constexpr const char* kLegal[] = {
    ".x....x",  // Loading
    "..x...x",  // Standby
    "...x.x.",  // Starting
    "..x.xx.",  // Running
    ".x...x.",  // Stopping
    "......x",  // Failed
    ".......",  // Unloading
};

TEST(NetworkStateTable, EveryPairOfStatesIsAsWritten) {
  for (size_t from = 0; from < std::size(kStates); ++from) {
    for (size_t to = 0; to < std::size(kStates); ++to) {
      const auto result = CheckTransition(kStates[from], kStates[to]);
      const std::string pair =
          fmt::format("{} -> {}", NetworkStateName(kStates[from]), NetworkStateName(kStates[to]));
      EXPECT_EQ(result.has_value(), kLegal[from][to] == 'x') << pair;
      if (result) continue;
      EXPECT_EQ(result.error().code, kStates[from] == kFailed ? Nerr::kFailedState : Nerr::kInvalid)
          << pair;
    }
  }
}

TEST(NetworkStateTable, ARefusalNamesBothStates) {
  const auto refused = CheckTransition(kStopping, kRunning);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text, HasSubstr("STOPPING"));
  EXPECT_THAT(refused.error().text, HasSubstr("READY"));
}

TEST(NetworkStateTable, AFailedNetworkSaysWhatToDo) {
  EXPECT_THAT(CheckTransition(kFailed, kStarting).error().text, HasSubstr("unload it"));
}

TEST(NetworkStateTable, NamesAreDifferentAndKnown) {
  std::set<std::string_view> names;
  for (NetworkState state : kStates) names.insert(NetworkStateName(state));
  EXPECT_EQ(names, (std::set<std::string_view>{"LOADING", "STANDBY", "STARTING", "READY",
                                               "STOPPING", "FAILED", "UNLOADING"}));
}

}  // namespace
}  // namespace nrtd::runtime
