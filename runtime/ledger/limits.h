// SPDX-License-Identifier: Apache-2.0
//
// Everything that clients can make the daemon hold, and how much of it they may. docs/limits.md has
// the same table for users; a test compares the two.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/sizes.h"

namespace nrtd::runtime {

enum class Holding : uint8_t {
  kConnections,    // to the socket
  kSessions,       // session_monitor streams
  kCalls,          // received and not yet answered
  kMessageBytes,   // requests that are being handled, and answers that were not read yet
  kArrivingBytes,  // requests of which gRPC has a part, or which wait to be handled
  kNetworks,
  kNetworkBytes,  // NEFFs: arriving, being read, kept by loaded networks; with their DRAM variables
  kCores,         // NeuronCores of groups
  kDramBytes,     // device DRAM of loaded networks
  kMappings,      // of shared memory; each takes a descriptor and an entry of the memory map
  kMappedBytes,   // of shared memory: a page that the client never wrote is charged to the daemon
  kCookies,       // inferences posted and not collected
};
inline constexpr size_t kHoldings = 12;
inline constexpr uint64_t kUnlimited = ~uint64_t{0};

// "message-bytes": the name that options, errors and tools use.
std::string_view HoldingName(Holding holding);
// A number of bytes rather than a count?
bool IsBytes(Holding holding);

struct Limits {
  std::array<uint64_t, kHoldings> per_client;
  std::array<uint64_t, kHoldings> total;

  uint64_t PerClient(Holding holding) const { return per_client[static_cast<size_t>(holding)]; }
  uint64_t Total(Holding holding) const { return total[static_cast<size_t>(holding)]; }
};

// For tests, and for what is no client's.
Limits NoLimits();

// What the system gives the daemon.
struct SystemRoom {
  uint64_t memory_bytes = kUnlimited;  // the cgroup's limit, or the machine's memory
  uint64_t descriptors = kUnlimited;   // RLIMIT_NOFILE
  uint64_t map_entries = kUnlimited;   // vm.max_map_count
  uint64_t threads = kUnlimited;       // the cgroup's limit on pids
};

// As it is now for this process. What cannot be read is taken for unlimited.
SystemRoom ReadSystemRoom();

// The memory that clients may use: what the system gives, less what the daemon takes for itself
// (kOwnMemory), at least half of it.
inline constexpr uint64_t kOwnMemory = 64 * kMiB;
uint64_t ClientMemory(const SystemRoom& room);

// Limits for a daemon that nobody configured: fractions of ClientMemory() for what is memory. They
// add up to less than all of it, so that the daemon refuses before the kernel kills.
Limits DefaultLimits(const SystemRoom& room);

// "mappings=64" or "message-bytes=16MiB" (suffixes KiB, MiB, GiB): sets one limit. kInvalid, with
// the names that there are.
Result<void> SetLimit(std::array<uint64_t, kHoldings>& limits, std::string_view assignment);

// Threads for calls: enough to keep every core of the largest instance driven, and less than half
// of what the system gives.
uint32_t CallThreadLimit(const SystemRoom& room);

}  // namespace nrtd::runtime
