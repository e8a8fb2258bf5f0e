// SPDX-License-Identifier: Apache-2.0
//
// An operand's elements as plain floats: what kernels do with them before they multiply.
#pragma once

#include <cstddef>
#include <cstdint>

#include "driver_shim/sim/isa.h"
#include "driver_shim/sim/kernels/weight_cache.h"

namespace nrtd::sim {

// Elements from the operand's first to its last, gaps included.
uint64_t SpanElements(const Operand& operand);

// Rounds a run of floats to bfloat16 (nearest even), keeping them as floats. NaN stays NaN. `from`
// and `to` are equal or do not overlap.
void RoundRun(const float* from, float* to, uint64_t count);

// The span of a constant operand, float32 or bfloat16 at `data`, as floats with the operand's
// strides; rounded if the precision says so. Where it is what is wanted already, no copy of it:
// `data` outlives this.
class WeightValues {
 public:
  WeightValues(const Operand& operand, Precision precision, const std::byte* data);
  const float* data() const { return values_; }
  float operator[](uint64_t index) const { return values_[index]; }

 private:
  PackedWeights own_;
  const float* values_;
};

}  // namespace nrtd::sim
