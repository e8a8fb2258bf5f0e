// SPDX-License-Identifier: Apache-2.0
#include "bench/blocks.h"

#include <barrier>
#include <optional>
#include <thread>
#include <utility>

namespace nrtd::bench {
namespace {

using SteadyTime = std::chrono::steady_clock;

struct ClientResult {
  Throughput throughput;
  std::optional<Error> error;
};

ClientResult InferUntilTheEnd(client::Daemon& daemon, const nrt::infer_request& request,
                              Duration length) {
  ClientResult result;
  Throughput& counts = result.throughput;
  nrt::infer_response response;
  const auto start = SteadyTime::now();
  auto now = start;
  while (now - start < length) {
    const auto outcome = daemon.Infer(request, response);
    now = SteadyTime::now();
    if (outcome) {
      ++counts.inferences;
    } else if (outcome.error().code == Nerr::kQueueFull) {
      ++counts.queue_full;
    } else {
      result.error = outcome.error();
      return result;
    }
  }
  counts.per_second =
      static_cast<double>(counts.inferences) / std::chrono::duration<double>(now - start).count();
  return result;
}

// `once` again and again for `length`.
template <typename Once>
Result<uint64_t> Repeat(Duration length, client::Latencies& latencies, const Once& once) {
  uint64_t count = 0;
  const auto start = SteadyTime::now();
  auto before = start;
  while (before - start < length) {
    NRTD_TRY(once());
    const auto after = SteadyTime::now();
    latencies.Add(after - before);
    before = after;
    ++count;
  }
  return count;
}

}  // namespace

Result<uint64_t> LatencyBlock(Side& side, Duration length, client::Latencies& latencies) {
  nrt::infer_response response;
  return Repeat(length, latencies,
                [&] { return side.clients.front().Infer(side.request, response); });
}

Result<uint64_t> PostWaitBlock(Side& side, Duration length, client::Latencies& latencies) {
  nrt::infer_response response;
  return Repeat(length, latencies, [&]() -> Result<void> {
    NRTD_ASSIGN(const uint64_t cookie, side.clients.front().Post(side.request));
    return side.clients.front().Wait(cookie, response);
  });
}

Result<Throughput> ThroughputBlock(Side& side, size_t clients, Duration length) {
  std::vector<ClientResult> results(clients);
  {
    std::barrier start(static_cast<ptrdiff_t>(clients));
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < clients; ++i) {
      threads.emplace_back([&, i] {
        start.arrive_and_wait();
        results[i] = InferUntilTheEnd(side.clients[i], side.request, length);
      });
    }
  }
  Throughput total;
  for (ClientResult& result : results) {
    if (result.error) return tl::unexpected<Error>(std::move(*result.error));
    total.inferences += result.throughput.inferences;
    total.queue_full += result.throughput.queue_full;
    total.per_second += result.throughput.per_second;
  }
  return total;
}

}  // namespace nrtd::bench
