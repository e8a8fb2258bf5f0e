// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "base/error.h"
#include "compiler/ir.h"
#include "runtime/host/host_functions.h"

namespace nrtd::compiler {

// The host's function for a call that reads and makes these values. kInvalid, with the function's
// name: the host cannot do it, of these types and shapes.
Result<runtime::HostKernel> PrepareCall(const Graph& graph, const HostCall& call,
                                        const std::vector<ValueId>& inputs,
                                        const std::vector<ValueId>& outputs);

}  // namespace nrtd::compiler
