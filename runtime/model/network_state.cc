// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/network_state.h"

#include <algorithm>

namespace nrtd::runtime {
namespace {

using enum NetworkState;

struct Transition {
  NetworkState from;
  NetworkState to;
};
constexpr Transition kLegal[] = {
    {kLoading, kStandby},  {kLoading, kUnloading}, {kStandby, kStarting}, {kStandby, kUnloading},
    {kStarting, kRunning}, {kStarting, kFailed},   {kRunning, kStopping}, {kRunning, kFailed},
    {kRunning, kStarting}, {kStopping, kStandby},  {kStopping, kFailed},  {kFailed, kUnloading},
};

}  // namespace

std::string_view NetworkStateName(NetworkState state) {
  switch (state) {
    case kLoading:
      return "LOADING";
    case kStandby:
      return "STANDBY";
    case kStarting:
      return "STARTING";
    case kRunning:
      return "READY";
    case kStopping:
      return "STOPPING";
    case kFailed:
      return "FAILED";
    case kUnloading:
      return "UNLOADING";
  }
  return "UNKNOWN";
}

Result<void> CheckTransition(NetworkState from, NetworkState to) {
  const bool legal = std::any_of(std::begin(kLegal), std::end(kLegal),
                                 [&](const Transition& t) { return t.from == from && t.to == to; });
  if (legal) return {};
  if (from == kFailed) {
    return Fail(Nerr::kFailedState,
                "the model stopped after an unrecoverable error: unload it and load it again");
  }
  return Fail(Nerr::kInvalid, "the model is {}, from where it cannot become {}",
              NetworkStateName(from), NetworkStateName(to));
}

}  // namespace nrtd::runtime
