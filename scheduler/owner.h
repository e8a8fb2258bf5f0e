// SPDX-License-Identifier: Apache-2.0
//
// Whom a group, a network, a mapping or a posted inference belongs to: what it is freed with, and
// who may use it.
#pragma once

#include <cstdint>

namespace nrtd::scheduler {

// A session, or the connection of a client that uses none; both are numbered from one range. 0 is
// none.
using SessionId = uint64_t;

// A process of a client, for as long as the machine runs. Of what is made, whose it is; of a call,
// in whose name it asks.
using ProcessKey = uint64_t;
// Asks in anybody's name: the daemon itself, an operator, and everyone where clients are not
// isolated.
inline constexpr ProcessKey kAnyProcess = 0;
// Of calls whose client has gone: nothing is its.
inline constexpr ProcessKey kNoProcess = ~ProcessKey{0};

struct Owner {
  SessionId session = 0;
  ProcessKey process = kAnyProcess;
};

inline bool MayUse(ProcessKey asking, ProcessKey owner) {
  return asking == kAnyProcess || (asking == owner && asking != kNoProcess);
}

}  // namespace nrtd::scheduler
