// SPDX-License-Identifier: Apache-2.0
//
// How gRPC waits and locks. All before its first call, with one thread.
#pragma once

namespace nrtd::rpc {

// Debian's Abseil looks for deadlocks at every lock, for developers: not any more.
void SetUpLocks();

// Waits by poll(2) instead of epoll, unless the environment says otherwise (GRPC_POLL_STRATEGY):
// for a program with one thread at a CallQueue that is a client as well and has few connections.
void UsePoll();

}  // namespace nrtd::rpc
