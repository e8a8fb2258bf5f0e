// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "base/error.h"
#include "neff/neff.h"
#include "runtime/machine.h"
#include "runtime/model/network.h"
#include "scheduler/core_allocation.h"

namespace nrtd::runtime {

// Puts a NEFF that may run here (neff::ReadExecutable) onto `cores`: places its subgraphs,
// allocates its slots. With cores for all subgraphs each has its own. With fewer, but enough for
// the largest node, the nodes share them: the subgraphs of one node are on neighbouring cores,
// those of the next behind them, from the first core again where they would not fit; the cores
// change from one program to the other as inferences come by. kResourceNc: "Insufficient number of
// VNCs: X, required: Y", with what the largest node needs. kResource: device DRAM or host memory
// exhausted. kFail: the network has parameters that no client feeds, which are not loaded yet.
// Errors of HostNode::Create. kInvalid: a malformed program. Nothing stays behind.
// Errors of CheckWanted(). The NEFF stays as long as the network: its weights are the content of
// DRAM (Device::MapDram).
Result<Network::Parts> PlaceNetwork(std::shared_ptr<const neff::Neff> neff,
                                    const scheduler::CoreRun& cores, uint32_t ninfer,
                                    Machine& machine, const std::stop_token& stop = {});

}  // namespace nrtd::runtime
