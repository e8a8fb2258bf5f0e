// SPDX-License-Identifier: Apache-2.0
//
// Whether a network's first dimension counts requests.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "compiler/ir.h"

namespace nrtd::compiler {

// The batch of the ports that have one, by name: all outputs, and the inputs whose first dimension
// is as large. Only where each row of the outputs is seen to depend on the same row of these inputs
// alone, operation by operation; empty where that is not certain, as behind a recurrence, whose
// first dimension counts steps. Of the graph as it is imported: what passes make of it is not
// followed.
std::map<std::string, uint32_t> BatchesOf(const Graph& graph);

}  // namespace nrtd::compiler
