// SPDX-License-Identifier: Apache-2.0
//
// Who computes an instruction: a kernel of our own where there is one and it is better, oneDNN's
// otherwise; by all threads of the core, or in parts.
#pragma once

#include <memory>

#include "driver_shim/sim/kernels/kernel.h"

namespace nrtd::sim {

// The instruction is a tensor instruction that Validate() accepts. kInvalid when oneDNN has no
// implementation for it, kResource without host memory. Errors of CheckWanted(context.stop).
Result<std::unique_ptr<Kernel>> MakeKernel(const Instruction& instruction,
                                           const KernelContext& context);

}  // namespace nrtd::sim
