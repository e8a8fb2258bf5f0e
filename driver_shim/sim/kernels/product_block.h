// SPDX-License-Identifier: Apache-2.0
//
// The inner loop of small convolutions and matrix products. Every output row (a pixel, a row of a
// matrix) is a sum over `depth` input values times rows of weights, and the k-th input value of a
// row lies at row_base[row] + depth_offset[k]. Weights are packed in blocks of columns, a row of a
// block after the other, so that the loop reads them in order.
#pragma once

#include <cstdint>
#include <span>

namespace nrtd::sim {

inline constexpr int kProductBlock = 16;  // columns

// A block of columns of one group: which rows it multiplies, and where its outputs go.
struct ProductBlock {
  const float* weights;   // [depth][kProductBlock]
  const float* bias;      // [kProductBlock]
  uint64_t input_shift;   // of the group's input channels
  uint64_t output_shift;  // of its columns
  uint32_t columns;       // <= kProductBlock
};

struct ProductRows {
  const float* input;
  float* output;
  std::span<const uint64_t> row_base;      // a row's first input element
  std::span<const uint64_t> row_output;    // a row's first output element
  std::span<const uint64_t> depth_offset;  // [depth]
  uint64_t column_stride;                  // of the output, in elements
};

// Writes the block's columns of every row. Sums in float32, in the order of k.
using RunProductBlock = void (*)(const ProductRows&, const ProductBlock&);

// For this CPU: with fused multiply-add on 8 lanes where it has them.
RunProductBlock BestRunProductBlock();

}  // namespace nrtd::sim
