// SPDX-License-Identifier: Apache-2.0
//
// The inner loops of large products and convolutions with constant weights, for CPUs with AVX2 and
// without AVX-512, where the library packs weights anew at every call or reads them in bad order.
//
// c[row, column] = sum over k of a[row, k] x weights[k, column] + bias[column]. Weights lie as
// [block of k][panel of 16 columns][k][16], in the order in which they are read: a panel's block
// stays in the first-level cache while it meets up to 192 rows. Six rows by 16 columns of sums
// stay in registers (the most that AVX2's sixteen hold). A row's values need not lie together: they
// are runs, each at the same distance from the row's first value for all rows.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "driver_shim/sim/isa.h"

namespace nrtd::sim {

inline constexpr int64_t kPanelColumns = 16;
inline constexpr int64_t kBlockDepth = 256;  // 16 KiB of a panel

// Values of a row that lie together.
struct Run {
  uint64_t offset = 0;  // elements from the row's first
  int64_t length = 0;
};

// Consecutive k that are multiplied while a panel's weights for them are in the cache: together at
// most kBlockDepth.
struct DepthBlock {
  std::vector<Run> runs;
  int64_t depth = 0;
};

// Cuts a row's runs into blocks.
std::vector<DepthBlock> CutDepth(std::span<const Run> runs);

// Floats that packed weights take.
uint64_t PackedFloats(int64_t depth, int64_t columns);
// Packs weights; weight(k, column) is a value. Columns beyond the last are 0.
template <typename Weight>
void PackPanels(std::span<const DepthBlock> blocks, int64_t columns, const Weight& weight,
                float* to) {
  int64_t first = 0;
  for (const DepthBlock& block : blocks) {
    for (int64_t panel = 0; panel < columns; panel += kPanelColumns) {
      for (int64_t k = first; k < first + block.depth; ++k) {
        for (int64_t c = panel; c < panel + kPanelColumns; ++c)
          *to++ = c < columns ? weight(k, c) : 0.0F;
      }
    }
    first += block.depth;
  }
}

struct PackedProduct {
  const float* input = nullptr;
  float* output = nullptr;               // a row's columns lie together
  std::span<const uint64_t> row_input;   // elements from `input` to a row's first value
  std::span<const uint64_t> row_output;  // elements from `output` to a row's first column
  std::span<const DepthBlock> blocks;
  const float* weights = nullptr;
  const float* bias = nullptr;  // [columns, rounded up to whole panels]
  int64_t columns = 0;
  // What the sums are brought into.
  float least = 0;
  float most = 0;
};

// Does this CPU run it?
bool HasPackedProduct();
// One thread. Sums in float32.
void RunPackedProduct(const PackedProduct& product);

}  // namespace nrtd::sim
