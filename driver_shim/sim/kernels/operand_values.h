// SPDX-License-Identifier: Apache-2.0
//
// An operand's elements as plain floats: what kernels do with them before they multiply.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "driver_shim/sim/isa.h"

namespace nrtd::sim {

// Elements from the operand's first to its last, gaps included.
uint64_t SpanElements(const Operand& operand);

// Rounds a run of floats to bfloat16 (nearest even), keeping them as floats. NaN stays NaN. `from`
// and `to` are equal or do not overlap.
void RoundRun(const float* from, float* to, uint64_t count);

// The span of a constant operand, float32 or bfloat16 at `data`, as floats with the operand's
// strides; rounded if the precision says so.
std::vector<float> ExpandWeights(const Operand& operand, Precision precision,
                                 const std::byte* data);

}  // namespace nrtd::sim
