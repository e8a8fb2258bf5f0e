// SPDX-License-Identifier: Apache-2.0
//
// A block: one side, the daemon or the echo server, under load for a fraction of a second. A run
// alternates them, so that a machine that speeds up or slows down meanwhile does so for both.
#pragma once

#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "tools/client/daemon.h"
#include "tools/client/latency.h"

namespace nrtd::bench {

// One side of the comparison.
struct Side {
  std::vector<client::Daemon> clients;  // each with a connection of its own
  nrt::infer_request request;           // the same for both sides
};

// The first client infers, one after another, for `length`. Returns how many.
Result<uint64_t> LatencyBlock(Side& side, Duration length, client::Latencies& latencies);

// As LatencyBlock, but each is posted and then waited for: two calls.
Result<uint64_t> PostWaitBlock(Side& side, Duration length, client::Latencies& latencies);

struct Throughput {
  uint64_t inferences = 0;
  uint64_t queue_full = 0;
  double per_second = 0;
};
// The first `clients` of them infer at once, a thread each, for `length`. QUEUE_FULL is counted and
// tried again.
Result<Throughput> ThroughputBlock(Side& side, size_t clients, Duration length);

}  // namespace nrtd::bench
