// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <stop_token>
#include <vector>

#include "base/bytes.h"
#include "base/sealed_memory.h"
#include "driver_shim/ring_format.h"

namespace nrtd {

// The three engines of a NeuronCore, in the order in which arrays of them are indexed.
enum class CoreEngine : uint8_t { kPe = 0, kAct = 1, kPool = 2 };
inline constexpr size_t kCoreEngines = 3;

// A variable of the subgraph after placement. Variables without DRAM (`input`, `output`: they lie
// in each inference's host buffers) have in_dram false and address 0.
struct PlacedVariable {
  uint32_t var_id = 0;
  uint64_t size = 0;
  BusAddress address = 0;
  bool in_dram = false;
  bool writable = false;
  // If all its bytes are a part of sealed memory, that and where: what is made of them can be
  // shared with others who have the same part, and kept by that memory.
  const SealedMemory* sealed = nullptr;
  uint64_t sealed_offset = 0;
};

// "Instruction DmaTrigger(id) on this engine releases `descriptors` descriptors of queue `queue`",
// in program order. `queue` counts the program's own queues from 0; Core::Activate maps them to the
// core's.
struct TriggerBinding {
  CoreEngine engine = CoreEngine::kPool;
  uint32_t id = 0;
  uint32_t queue = 0;
  uint32_t descriptors = 0;
};

// One subgraph, placed on a device: what Core::LoadProgram takes. The spans are read during the
// call only.
struct ProgramImage {
  std::array<ByteSpan, kCoreEngines> instructions;
  std::vector<PlacedVariable> variables;
  std::vector<TriggerBinding> triggers;
  std::vector<uint32_t>
      output_var_ids;  // float32 tmp-buf variables that are outputs: checked for NaN at the end
  // Nobody wants the program any more: looked at between instructions, since preparing those of a
  // gigabyte of weights takes seconds.
  std::stop_token stop = {};
};

}  // namespace nrtd
