// SPDX-License-Identifier: Apache-2.0
//
// A program that a simulated core can run: decoded, checked against its variables, every tensor
// instruction turned into a kernel.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <vector>

#include "base/error.h"
#include "driver_shim/program.h"
#include "driver_shim/sim/address_space.h"
#include "driver_shim/sim/isa.h"
#include "driver_shim/sim/kernels/kernel.h"
#include "driver_shim/sim/kernels/kernel_set.h"

namespace nrtd::sim {

// One step of an engine's stream. Control steps carry their operands, tensor steps a kernel and
// where its operands are.
struct Step {
  Opcode opcode = Opcode::kEnd;
  uint8_t semaphore = 0;
  uint32_t value = 0;  // SemaphoreWait: the threshold; Notify: the value; DmaTrigger: an index into
                       // PreparedProgram::triggers
  uint64_t macs = 0;
  Kernel* kernel = nullptr;  // PreparedProgram::kernels'
  OperandBases bases{};
};
// A program may have 3 million of them.
static_assert(sizeof(Step) <= 64);

struct PreparedTrigger {
  uint32_t queue = 0;  // the program's own numbering
  uint32_t descriptors = 0;
};

// float32 memory that is checked for NaN when an execution ends.
struct OutputRange {
  const float* data = nullptr;
  uint64_t count = 0;
};

struct PreparedProgram {
  explicit PreparedProgram(PreparedBudget* budget) : charge(budget) {}

  PreparedCharge charge;
  std::array<std::vector<Step>, kEngines> streams;
  std::vector<PreparedTrigger> triggers;
  std::vector<OutputRange> outputs;
  std::vector<uint64_t>
      descriptors;  // that one execution consumes, for each of the program's queues
  Scratch scratch;  // of this program's kernels
  std::deque<Scratch> team_scratch;  // of the parts of them that helpers run
  OperandBases bases{};              // of the step whose kernel runs
  std::unique_ptr<KernelSet> kernels;
  std::vector<uint32_t> taken_over;  // Core::TakenOver()
  uint64_t pace_ns = 0;              // of an execution on a real Inferentia, at best (pace.h)

  // Of steps, kernels and scratch memory.
  uint64_t bytes() const;
};

// Errors as Core::LoadProgram. The variables' memory is read now (weights) and by every execution.
// `team`, of the core, runs the program and outlives it.
Result<std::unique_ptr<PreparedProgram>> PrepareProgram(const ProgramImage& image,
                                                        const AddressSpace& space,
                                                        WeightCache& weights, ThreadTeam& team);

}  // namespace nrtd::sim
