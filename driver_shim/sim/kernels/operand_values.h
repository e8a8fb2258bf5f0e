// SPDX-License-Identifier: Apache-2.0
//
// An operand's elements as plain floats: what kernels do with them before they multiply.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_memory.h"
#include "driver_shim/sim/isa.h"
#include "driver_shim/sim/kernels/packed_product.h"

namespace nrtd::sim {

// Elements from the operand's first to its last, gaps included.
uint64_t SpanElements(const Operand& operand);

// Where the parts of an operand begin that its leading dimensions number, in elements from its
// first; as often as `dims` says, which are those dimensions or larger where it is repeated (1).
std::vector<uint64_t> StartsOf(const Operand& operand, std::span<const int64_t> dims);

// Would packed weights of so many bytes take far more memory than the operand does? Elements may be
// repeated as often as a NEFF of a few kB likes (strides of 0), and a panel of one column is mostly
// zeros. Such weights are not packed.
bool PacksTooMuch(const Operand& operand, uint64_t bytes);

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
  AlignedMemory own_;
  const float* values_;
};

// A constant matrix, float32 or bfloat16 at `data`, which outlives this: the last two dimensions.
class MatrixValues {
 public:
  MatrixValues(const Operand& operand, const std::byte* data);

  // Rows 2 pair and 2 pair + 1 as bfloat16 (float32 rounded to nearest even), the first one in the
  // low half of each word, the second one 0 behind the last row.
  void CopyPairs(int64_t pair, int64_t column, int64_t count, Word* to) const;

 private:
  const std::byte* data_;
  bool is_bfloat16_;
  int64_t rows_, row_stride_, column_stride_;
};

}  // namespace nrtd::sim
