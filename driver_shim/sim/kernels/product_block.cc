// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/product_block.h"

#include <cstddef>
#include <cstring>

namespace nrtd::sim {
namespace {

constexpr int kLanes = 8;
// With a block of columns it fills the registers of AVX2.
constexpr int kTileRows = 4;

// Lives in registers of whatever width the CPU has; loads and stores need no alignment.
using Vector
    [[gnu::vector_size(kLanes * sizeof(float)), gnu::aligned(alignof(float)), gnu::may_alias]] =
        float;

template <int kRows, int kVectors>
[[gnu::always_inline]] inline void RunTile(const ProductRows& p, const ProductBlock& block,
                                           size_t first_row) {
  Vector sums[kRows][kVectors];
  const float* rows[kRows];
  for (int r = 0; r < kRows; ++r) {
    rows[r] = p.input + block.input_shift + p.row_base[first_row + static_cast<size_t>(r)];
    for (int v = 0; v < kVectors; ++v)
      sums[r][v] = *reinterpret_cast<const Vector*>(block.bias + v * kLanes);
  }
  const float* weights = block.weights;
  for (const uint64_t offset : p.depth_offset) {
    for (int v = 0; v < kVectors; ++v) {
      const Vector column = *reinterpret_cast<const Vector*>(weights + v * kLanes);
      for (int r = 0; r < kRows; ++r) sums[r][v] += column * rows[r][offset];
    }
    weights += kProductBlock;
  }
  for (int r = 0; r < kRows; ++r) {
    float* output =
        p.output + block.output_shift + p.row_output[first_row + static_cast<size_t>(r)];
    float values[kVectors * kLanes];
    std::memcpy(values, &sums[r][0], sizeof(values));
    if (p.column_stride == 1) {
      std::memcpy(output, values, block.columns * sizeof(float));
    } else {
      for (uint32_t c = 0; c < block.columns; ++c) output[c * p.column_stride] = values[c];
    }
  }
}

template <int kVectors>
[[gnu::always_inline]] inline void RunRows(const ProductRows& p, const ProductBlock& block) {
  const size_t rows = p.row_base.size();
  size_t row = 0;
  for (; row + kTileRows <= rows; row += kTileRows) RunTile<kTileRows, kVectors>(p, block, row);
  for (; row < rows; ++row) RunTile<1, kVectors>(p, block, row);
}

[[gnu::always_inline]] inline void RunBlock(const ProductRows& p, const ProductBlock& block) {
  if (block.columns > kLanes) {
    RunRows<kProductBlock / kLanes>(p, block);
  } else {
    RunRows<1>(p, block);
  }
}

[[gnu::target("avx2,fma")]] void RunBlockAvx2(const ProductRows& p, const ProductBlock& block) {
  RunBlock(p, block);
}
void RunBlockBaseline(const ProductRows& p, const ProductBlock& block) {
  RunBlock(p, block);
}
}  // namespace

RunProductBlock BestRunProductBlock() {
  static const RunProductBlock best =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? RunBlockAvx2
                                                                      : RunBlockBaseline;
  return best;
}

}  // namespace nrtd::sim
