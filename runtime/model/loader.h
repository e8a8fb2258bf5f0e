// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "base/error.h"
#include "neff/neff.h"
#include "runtime/machine.h"
#include "runtime/model/network.h"
#include "scheduler/core_allocation.h"

namespace nrtd::runtime {

// Puts a NEFF that may run here (neff::ReadExecutable) onto `cores`: places its subgraphs one a
// core, allocates its slots. kResourceNc: "Insufficient number of VNCs: X, required: Y". kResource:
// device DRAM or host memory exhausted. kFail: the network has parameters that no client feeds,
// which are not loaded yet. Errors of HostNode::Create. kInvalid: a malformed program. Nothing
// stays behind.
Result<Network::Parts> PlaceNetwork(const neff::Neff& neff, const scheduler::CoreRun& cores,
                                    uint32_t ninfer, Machine& machine);

}  // namespace nrtd::runtime
