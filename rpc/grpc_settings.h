// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace nrtd::rpc {

// How gRPC waits and locks, for programs with one thread at a CallQueue. Before the first call of
// gRPC, with one thread. What the environment says (GRPC_POLL_STRATEGY) stays.
void SetUpGrpc();

}  // namespace nrtd::rpc
