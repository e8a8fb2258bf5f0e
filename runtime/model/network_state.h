// SPDX-License-Identifier: Apache-2.0
//
// The states of a network and the ways between them:
//
//   Loading -> Standby -> Starting -> Running -> Stopping -> Standby
//                 |          |           |           |
//                 |          +--------> Failed <-----+        Running -> Failed: a core hung or
//                 died
//                 +-----------------------+-----> Unloading   (the end; Failed networks can only be
//                 unloaded)
#pragma once

#include <string_view>

#include "base/error.h"

namespace nrtd::runtime {

enum class NetworkState { kLoading, kStandby, kStarting, kRunning, kStopping, kFailed, kUnloading };

// "STANDBY", ...: as tools and messages spell it.
std::string_view NetworkStateName(NetworkState state);

// kFailedState when the network has failed, kInvalid otherwise, both naming the states.
Result<void> CheckTransition(NetworkState from, NetworkState to);

}  // namespace nrtd::runtime
