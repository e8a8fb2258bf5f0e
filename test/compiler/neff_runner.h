// SPDX-License-Identifier: Apache-2.0
//
// Loads a compiled NEFF onto a core of a simulated Inferentia and runs it, with nothing between:
// DRAM from address 0 on, one host buffer a port.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/npy.h"
#include "driver_shim/core_channel.h"
#include "driver_shim/memory_copier.h"
#include "driver_shim/sim/sim_platform.h"
#include "memory/hugepage_pool.h"
#include "neff/neff.h"
#include "runtime/host/host_functions.h"

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

// A loaded and started network; stopped and unloaded at the end. Its pieces take turns on the one
// core, calls of the host run where the test runs. Throws what goes wrong.
class NeffRunner {
 public:
  NeffRunner(SimulatedCore& core, const neff::Neff& neff);
  ~NeffRunner();
  NeffRunner(const NeffRunner&) = delete;
  NeffRunner& operator=(const NeffRunner&) = delete;

  // Inputs and outputs by name. Inputs that the network does not use are passed over.
  std::map<std::string, NpyArray> Run(const std::map<std::string, NpyArray>& inputs);

 private:
  // By the name of a tensor, or of what one piece hands to the next.
  using Values = std::map<std::string, ByteVector>;
  class Piece;
  struct Call {
    runtime::HostKernel kernel;
    std::vector<uint32_t> inputs;
    std::vector<uint32_t> outputs;
  };
  void AddCall(const neff::Node& node);

  SimulatedCore& core_;
  const neff::Neff& neff_;
  uint64_t next_ = 0;  // free DRAM
  std::vector<std::variant<std::unique_ptr<Piece>, Call>> stages_;
};

}  // namespace nrtd::compiler
