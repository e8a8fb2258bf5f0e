// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "compiler/ir.h"

namespace nrtd::compiler {

// What a node makes of constants, computed now with the simulated core's own kernels in float32, so
// that folding changes no number. Nothing if an input is no constant, if the result would bloat the
// NEFF (much larger than the inputs together), or if the core has no instruction for it, of these
// types and sizes.
std::optional<ByteVector> Evaluate(const Graph& graph, const Node& node);

}  // namespace nrtd::compiler
