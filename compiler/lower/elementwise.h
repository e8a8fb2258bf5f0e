// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "compiler/lower/lower.h"

namespace nrtd::compiler {

// Inputs that numpy's rules repeat to the output's shape, with as few dimensions as the rules need.
// kInvalid if an instruction has not as many.
struct Aligned {
  Shape full;
  std::vector<Shape> inputs;  // of full's rank, each dimension that of full or 1
};
Result<Aligned> Align(const Node& node, const LowerContext& context);

// Where an operand has 1 and the full shape has more, the same element is read again.
sim::Operand Repeated(sim::Operand operand, const Shape& full);

}  // namespace nrtd::compiler
