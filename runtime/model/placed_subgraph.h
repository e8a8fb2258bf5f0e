// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "driver_shim/core_channel.h"
#include "memory/dram_allocator.h"
#include "neff/neff.h"
#include "runtime/machine.h"
#include "runtime/model/tensor_layout.h"
#include "runtime/model/transfer_plan.h"

namespace nrtd::runtime {

// One subgraph on one core: its variables in the device's DRAM, weights written, its program
// loaded. Gives all of it back when it is destroyed, which its owner does only when it is stopped.
class PlacedSubgraph {
 public:
  struct Options {
    uint32_t node = 0;   // of the graph
    uint32_t index = 0;  // of the subgraph in its node
    uint32_t core = 0;   // virtual NC
    std::stop_token stop;
  };
  // kResource: DRAM exhausted ("Failed to allocate buffer in MLA DRAM for ..."). kInvalid,
  // kUnsupportedVersion: a malformed or foreign program. kHwError: the device failed while weights
  // were written. Errors of CheckWanted(). Nothing stays behind.
  // `subgraph` is one of `neff`; weights that it shares (neff::Neff::Condense) are shared here.
  static Result<std::unique_ptr<PlacedSubgraph>> Place(const neff::Neff& neff,
                                                       const neff::Subgraph& subgraph,
                                                       const TensorLayout& layout,
                                                       const Options& options, Machine& machine);
  ~PlacedSubgraph();
  PlacedSubgraph(const PlacedSubgraph&) = delete;
  PlacedSubgraph& operator=(const PlacedSubgraph&) = delete;

  // Its core runs it from now on, with rings for `ninfer` inferences in flight. Errors of
  // CoreChannel::Start.
  Result<void> Start(uint32_t ninfer);
  void Stop();

  CoreChannel& channel() const { return channel_; }
  ProgramRings& program() const { return *program_; }
  const TransferPlan& transfers() const { return transfers_; }
  const Options& options() const { return options_; }
  uint64_t dram_bytes() const;
  // Core::PreparedBytes()
  uint64_t prepared_bytes() const { return channel_.core().PreparedBytes(program_id_); }

  // A variable's weights, as a part of the NEFF's sealed_weights(). taken_over: nobody reads them
  // any more, neither the core (Core::TakenOver()) nor DMA nor the next load.
  struct Weights {
    uint64_t offset = 0;
    uint64_t size = 0;
    bool taken_over = false;
  };
  std::vector<Weights> weights() const;

 private:
  PlacedSubgraph(const Options& options, Machine& machine)
      : options_(options),
        unit_(machine.unit_of_core(options.core)),
        channel_(machine.channel(options.core)) {}
  Result<void> PlaceVariables(const neff::Neff& neff, const neff::Subgraph& subgraph);
  Result<void> WriteWeights(const neff::Neff& neff, const neff::Variable& variable,
                            PlacedVariable& placed);
  Result<BusAddress> Allocate(const neff::Variable& variable, const std::string& subgraph);
  Result<void> PlanAndLoad(const neff::Subgraph& subgraph, const TensorLayout& layout,
                           PreparedBudget& budget);

  const Options options_;
  DeviceUnit& unit_;
  CoreChannel& channel_;
  std::vector<memory::DramBlock> blocks_;
  std::vector<PlacedVariable> variables_;  // parallel to the subgraph's
  std::map<uint32_t, Weights> weights_;    // by var_id; taken_over: nobody but the core reads them
  TransferPlan transfers_;
  ProgramId program_id_ = 0;
  std::unique_ptr<ProgramRings> program_;
};

}  // namespace nrtd::runtime
