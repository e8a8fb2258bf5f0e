// SPDX-License-Identifier: Apache-2.0
//
// Inside neff/ only: the parts of ReadSubgraph().
#pragma once

#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "neff/archive.h"
#include "neff/json_fields.h"
#include "neff/subgraph.h"

namespace nrtd::neff {

// definition_reader.cc. `root` is def.json; `subgraph` has its definition set.
Result<std::vector<Variable>> ReadVariables(const Field& root, const Archive& archive,
                                            const Subgraph& subgraph, const Limits& limits);
Result<std::vector<QueueSet>> ReadQueues(const Field& root, const Limits& limits);

// engine_reader.cc
class EngineReader {
 public:
  // All three outlive the reader; `subgraph` has its variables and queues.
  EngineReader(const Archive& archive, const Subgraph& subgraph, const Limits& limits);

  // The engine's JSON file and instructions, which def.json names.
  Result<EngineProgram> Read(std::string_view engine, const std::string& json_file,
                             const std::string& instruction_file);

 private:
  Result<void> ReadTransfers(const Field& root, EngineProgram& program);
  static Result<void> ReadLookups(const Field& root, EngineProgram& program);
  Result<DmaTrigger> ReadTrigger(const Field& item) const;
  Result<void> ReadQueueName(const Field& item, DmaTrigger& trigger) const;
  Result<Descriptor> ReadDescriptor(const Field& desc) const;
  struct PatternKeys;
  Result<AccessPattern> ReadPattern(const Field& object, const PatternKeys& keys) const;

  const Archive& archive_;
  const Subgraph& subgraph_;
  const Limits& limits_;
  std::unordered_map<std::string_view, uint32_t> variables_;  // by name
  std::unordered_map<std::string_view, bool> queues_;         // by name; true for an instance
  size_t descriptors_ = 0;                                    // of all engines so far
};

}  // namespace nrtd::neff
