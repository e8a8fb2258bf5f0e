// SPDX-License-Identifier: Apache-2.0
//
// Who computes an instruction: a kernel of our own where there is one and it is better, oneDNN's
// otherwise; by all threads of the core, or in parts.
#pragma once

#include <memory>

#include "driver_shim/sim/kernels/kernel.h"

namespace nrtd::sim {

// A kernel that does the instruction by itself, in pieces if it takes long. The instruction is a
// tensor instruction that Validate() accepts. kInvalid when oneDNN has no implementation for it, or
// when it cannot be cut into pieces; kResource without host memory. Errors of
// CheckWanted(context.stop). Programs have a KernelSet instead.
Result<std::unique_ptr<Kernel>> MakeKernel(const Instruction& instruction,
                                           const KernelContext& context);

// In one piece, however long that takes.
Result<std::unique_ptr<Kernel>> MakeWhole(const Instruction& instruction,
                                          const KernelContext& context);

}  // namespace nrtd::sim
