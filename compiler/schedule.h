// SPDX-License-Identifier: Apache-2.0
//
// From one order of instructions to three instruction streams that may run at the same time:
// semaphores where one engine needs what another wrote, still reads, or wrote before it overwrites
// it; DMA triggers that bring inputs and take outputs away.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "compiler/ir.h"
#include "compiler/lower/lower.h"
#include "compiler/memory_plan.h"
#include "driver_shim/sim/isa.h"
#include "neff/subgraph.h"

namespace nrtd::compiler {

// One entry of an engine's `dma` list. Whole variables on the host's side.
struct Transfer {
  uint32_t id = 0;  // what DmaTrigger names
  bool is_input = true;
  uint32_t host_variable = 0;    // input or output
  uint32_t device_variable = 0;  // tmp-buf
  uint64_t device_offset = 0;
  uint64_t bytes = 0;
  uint8_t semaphore = 0;  // counts up when the transfer has ended
};

struct Schedule {
  std::array<sim::Stream, sim::kEngines> streams;
  // In the order in which the engine triggers them.
  std::array<std::vector<Transfer>, sim::kEngines> transfers;
  std::array<std::vector<neff::Lookup>, sim::kEngines> lookups;
  uint32_t semaphores = 0;  // used: 0 to this - 1
};

// All inputs are fetched at the start by the engine that needs one first; each output leaves as
// soon as it is written, triggered by the engine that wrote it. A stream ends when nothing of it is
// under way, DMA included. kResource: more instructions than a stream may have.
Result<Schedule> MakeSchedule(const Graph& graph, const MemoryPlan& plan,
                              const std::vector<TensorInstruction>& program);

// Which bytes of which variable an operand reaches, for whoever compares accesses.
struct Access {
  uint32_t var_id = 0;
  uint64_t begin = 0;
  uint64_t end = 0;
  bool write = false;

  bool Conflicts(const Access& other) const {
    return var_id == other.var_id && begin < other.end && other.begin < end &&
           (write || other.write);
  }
};
std::vector<Access> AccessesOf(const sim::Instruction& instruction);

}  // namespace nrtd::compiler
