// SPDX-License-Identifier: Apache-2.0
//
// How long a program would take at best on a real Inferentia, from its public peak rates: a lower
// bound, for load tests that should not be faster than the chip, and for people who wonder.
// Sources: the pages "NeuronCore-v1 Architecture" and "Inferentia Architecture" of the AWS Neuron
// documentation. What they do not say is marked as assumed.
#pragma once

#include <cstdint>
#include <set>

#include "driver_shim/sim/isa.h"

namespace nrtd::sim {

struct Inf1 {
  static constexpr double kBFloat16FlopsPerSecond = 16e12;  // of a core's PE; 64e12 a device
  static constexpr double kFloat32FlopsPerSecond = 4e12;    // assumed: a quarter of it
  static constexpr double kActPerCycle = 512;               // operations
  static constexpr double kPoolPerCycle = 256;
  static constexpr double kCyclesPerSecond = 1e9;                           // assumed
  static constexpr double kDramBytesPerSecond = 50.0 * 1024 * 1024 * 1024;  // of a device
};

// The engine's time for an instruction, one operation an element; 0 for control.
uint64_t PaceNs(Engine engine, const Instruction& instruction);

// Adds up a program's streams.
class ProgramPace {
 public:
  void Add(Engine engine, const Instruction& instruction);
  void Add(const Stream& stream) {
    for (const Instruction& instruction : stream.instructions) Add(stream.engine, instruction);
  }
  // Its instructions one after the other, as their data need it, or its constants and ports through
  // DRAM, which goes on beside; whichever is longer. Tables that are looked up do not count.
  uint64_t Ns(const ProgramContext& context) const;

 private:
  uint64_t instructions_ns_ = 0;
  std::set<uint32_t> tables_;  // var_ids
};

}  // namespace nrtd::sim
