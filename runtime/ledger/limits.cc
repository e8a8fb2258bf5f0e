// SPDX-License-Identifier: Apache-2.0
#include "runtime/ledger/limits.h"

#include <algorithm>
#include <charconv>

#include <fmt/ranges.h>

namespace nrtd::runtime {
namespace {

struct Description {
  std::string_view name;
  bool bytes;
};

constexpr std::array<Description, kHoldings> kDescriptions = {{
    {"connections", false},
    {"sessions", false},
    {"calls", false},
    {"message-bytes", true},
    {"arriving-bytes", true},
    {"networks", false},
    {"network-bytes", true},
    {"cores", false},
    {"dram-bytes", true},
    {"mappings", false},
    {"mapped-bytes", true},
    {"cookies", false},
}};

struct Defaults {
  uint64_t per_client;
  uint64_t total;
};

// A connection costs gRPC some 100 KiB. The benchmark's one process opens 130.
constexpr Defaults kConnections = {256, 1024};
constexpr Defaults kSessions = {256, 1024};
// More than 64 cores with ninfer 4 can have in flight.
constexpr Defaults kCalls = {512, 2048};
// A network costs tens of KiB besides its weights.
constexpr Defaults kNetworks = {256, 1024};
constexpr Defaults kMappings = {512, 4096};
// Slots bound them as well: ninfer of each network.
constexpr Defaults kCookies = {4096, 16'384};
// The kernel's default of vm.max_map_count is 65,530; the daemon itself has some thousand entries.
constexpr uint64_t kShareOfMapEntries = 4;
constexpr uint64_t kShareOfDescriptors = 4;

std::optional<uint64_t> ParseAmount(std::string_view text) {
  struct Suffix {
    std::string_view text;
    uint64_t factor;
  };
  constexpr Suffix kSuffixes[] = {{"KiB", kKiB}, {"MiB", kMiB}, {"GiB", kGiB}};
  uint64_t factor = 1;
  for (const Suffix& suffix : kSuffixes) {
    if (!text.ends_with(suffix.text)) continue;
    text.remove_suffix(suffix.text.size());
    factor = suffix.factor;
    break;
  }
  uint64_t amount = 0;
  const char* const end = text.data() + text.size();
  const auto [parsed, error] = std::from_chars(text.data(), end, amount);
  if (text.empty() || error != std::errc() || parsed != end) return std::nullopt;
  return CheckedMultiply(amount, factor);
}

}  // namespace

std::string_view HoldingName(Holding holding) {
  return kDescriptions[static_cast<size_t>(holding)].name;
}

bool IsBytes(Holding holding) {
  return kDescriptions[static_cast<size_t>(holding)].bytes;
}

Limits NoLimits() {
  Limits limits;
  limits.per_client.fill(kUnlimited);
  limits.total.fill(kUnlimited);
  return limits;
}

uint64_t ClientMemory(const SystemRoom& room) {
  if (room.memory_bytes == kUnlimited) return kUnlimited;
  return std::max(room.memory_bytes / 2,
                  room.memory_bytes - std::min(room.memory_bytes, kOwnMemory));
}

Limits DefaultLimits(const SystemRoom& room) {
  Limits limits = NoLimits();
  const auto set = [&](Holding holding, const Defaults& defaults) {
    limits.per_client[static_cast<size_t>(holding)] = std::min(defaults.per_client, defaults.total);
    limits.total[static_cast<size_t>(holding)] = defaults.total;
  };
  const auto capped = [](const Defaults& defaults, uint64_t room_for) {
    return Defaults{defaults.per_client, std::max<uint64_t>(1, std::min(defaults.total, room_for))};
  };
  const uint64_t descriptors = room.descriptors / kShareOfDescriptors;
  set(Holding::kConnections, capped(kConnections, descriptors));
  set(Holding::kSessions, kSessions);
  set(Holding::kCalls, kCalls);
  set(Holding::kNetworks, kNetworks);
  set(Holding::kMappings,
      capped(kMappings, std::min(descriptors, room.map_entries / kShareOfMapEntries)));
  set(Holding::kCookies, kCookies);
  const uint64_t memory = ClientMemory(room);
  if (memory == kUnlimited) return limits;
  set(Holding::kMessageBytes, {memory / 16, memory / 8});
  // A message that is too large is refused when it is complete, and so must have room until then.
  set(Holding::kArrivingBytes, {memory / 8, memory / 8});
  set(Holding::kNetworkBytes, {memory / 2, memory * 9 / 16});
  set(Holding::kMappedBytes, {memory / 16, memory / 8});
  return limits;
}

Result<void> SetLimit(std::array<uint64_t, kHoldings>& limits, std::string_view assignment) {
  const size_t equals = assignment.find('=');
  const std::string_view name = assignment.substr(0, equals);
  const auto found = std::find_if(kDescriptions.begin(), kDescriptions.end(),
                                  [&](const Description& d) { return d.name == name; });
  if (equals == std::string_view::npos || found == kDescriptions.end()) {
    std::vector<std::string_view> names;
    for (const Description& description : kDescriptions) names.push_back(description.name);
    return Fail(Nerr::kInvalid, "limit '{}' is not NAME=AMOUNT with one of the names {}",
                assignment, fmt::join(names, ", "));
  }
  const auto amount = ParseAmount(assignment.substr(equals + 1));
  if (!amount) {
    return Fail(Nerr::kInvalid,
                "limit '{}': the amount is a number, with the suffix KiB, MiB or GiB if it is one "
                "of bytes",
                assignment);
  }
  limits[static_cast<size_t>(found - kDescriptions.begin())] = *amount;
  return {};
}

uint32_t CallThreadLimit(const SystemRoom& room) {
  constexpr uint64_t kMaxCallThreads = 128;  // 64 cores, and as many that decode
  constexpr uint64_t kMinCallThreads = 8;
  return static_cast<uint32_t>(std::clamp(room.threads / 3, kMinCallThreads, kMaxCallThreads));
}

}  // namespace nrtd::runtime
