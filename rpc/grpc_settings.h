// SPDX-License-Identifier: Apache-2.0
//
// Process-wide settings of gRPC. Call these before any other use of gRPC, while the process has one
// thread.
#pragma once

namespace nrtd::rpc {

// Turns off Abseil's deadlock detection, a developer's aid that Debian's build leaves on for every
// lock.
void SetUpLocks();

// Uses poll(2) instead of epoll, unless GRPC_POLL_STRATEGY is set. Suits a program with one thread
// at a CallQueue that has few connections and is a client as well.
void UsePoll();

}  // namespace nrtd::rpc
