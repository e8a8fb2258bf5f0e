// SPDX-License-Identifier: Apache-2.0
//
// Loads a compiled NEFF onto a core of a simulated Inferentia and runs it, with nothing between:
// DRAM from address 0 on, one host buffer a port.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/npy.h"
#include "driver_shim/core_channel.h"
#include "driver_shim/memory_copier.h"
#include "driver_shim/sim/sim_platform.h"
#include "memory/hugepage_pool.h"
#include "neff/neff.h"

namespace nrtd::compiler {

// One simulated inf1.xlarge, for any number of networks one after the other.
class SimulatedCore {
 public:
  SimulatedCore();

  SteadyClock clock;
  std::unique_ptr<memory::HugePagePool> pool;
  std::unique_ptr<sim::SimPlatform> platform;
  std::unique_ptr<MemoryCopier> copier;
  std::unique_ptr<CoreChannel> channel;
};

// A loaded and started network; stopped and unloaded at the end. Throws what goes wrong.
class NeffRunner {
 public:
  NeffRunner(SimulatedCore& core, const neff::Neff& neff);
  ~NeffRunner();
  NeffRunner(const NeffRunner&) = delete;
  NeffRunner& operator=(const NeffRunner&) = delete;

  // Inputs and outputs by name. Inputs that the network does not use are passed over.
  std::map<std::string, NpyArray> Run(const std::map<std::string, NpyArray>& inputs);

 private:
  void Place(const neff::Variable& variable);
  void AddQueue(uint32_t engine, const neff::Subgraph& subgraph, const std::string& queue);
  BusAddress AddressOf(const neff::Subgraph& subgraph, const neff::AccessPattern& pattern) const;

  SimulatedCore& core_;
  const neff::Neff& neff_;
  ProgramImage image_;
  std::map<uint32_t, BusAddress> addresses_;               // of every variable
  std::map<std::string, memory::DmaBuffer> host_buffers_;  // of ports, by name
  std::vector<std::vector<Descriptor>> queues_;
  uint64_t next_ = 0;  // free DRAM
  ProgramId program_id_ = 0;
  std::unique_ptr<ProgramRings> program_;
};

}  // namespace nrtd::compiler
