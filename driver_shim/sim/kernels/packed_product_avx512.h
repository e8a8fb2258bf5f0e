// SPDX-License-Identifier: Apache-2.0
//
// The forms of packed_product.h for CPUs with AVX-512: six rows by 64 columns of sums take 24 of
// its 32 registers.
#pragma once

#include "driver_shim/sim/kernels/packed_product.h"

namespace nrtd::sim {

// For CPUs with AVX-512 F.
extern const ProductForm kAvx512Float32Form;
// For those with its bfloat16 instructions too.
extern const ProductForm kAvx512BFloat16Form;

// Rounds values to bfloat16 (nearest even), two a word, the last one with 0 if their number is odd.
// For CPUs with the bfloat16 instructions of AVX-512; they take numbers below 2^-126 for 0.
void RoundToPairs(const float* from, int64_t count, Word* to);

// A panel of weights for `depth` values, rounded likewise: to[word, column], `width` columns a
// word, of which those from `columns` on are 0. From rows that are `stride` apart, one for each
// value of the depth, whose columns lie together.
void PackPairsOfRows(const float* from, int64_t stride, int64_t depth, int64_t columns,
                     int64_t width, Word* to);
// From columns that are `stride` apart, whose values lie together.
void PackPairsOfColumns(const float* from, int64_t stride, int64_t depth, int64_t columns,
                        int64_t width, Word* to);

}  // namespace nrtd::sim
