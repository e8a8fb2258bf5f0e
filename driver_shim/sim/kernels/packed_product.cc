// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/packed_product.h"

#include <algorithm>
#include <cstring>

#include "driver_shim/sim/kernels/kernel.h"
#include "driver_shim/sim/kernels/vector_math.h"

namespace nrtd::sim {
namespace {

constexpr int kTileRows = 6;
constexpr int kVectors = kPanelColumns / kLanes;
// Of which a block's values (192 KiB if they do not overlap) stay in the second-level cache.
constexpr size_t kBlockRows = 192;

NRTD_INLINE Vector Load(const float* from) {
  Vector vector;
  std::memcpy(&vector, from, sizeof(vector));
  return vector;
}

// A panel's part for one block of k.
struct Panel {
  const DepthBlock* block;
  const float* weights;
  const float* bias;  // of the panel; null: the sums so far are in the output
  int64_t first_column;
  int64_t columns;  // up to kPanelColumns
  bool last;        // block: bring the sums into their range
};

// Weights are read once in an execution, so they come from DRAM: while a panel's block meets its
// rows, the next one, which lies behind it, is brought into the second-level cache, a few lines a
// tile.
class Ahead {
 public:
  Ahead(const Panel& panel, size_t rows)
      : next_(panel.weights + panel.block->depth * kPanelColumns),
        lines_(static_cast<int64_t>(
            (static_cast<size_t>(panel.block->depth) * kTileRows + rows - 1) / rows)) {}
  NRTD_INLINE void FetchSome() {
    for (int64_t i = 0; i < lines_; ++i, next_ += kPanelColumns)
      __builtin_prefetch(next_, /*rw=*/0, /*locality=*/2);
  }

 private:
  const float* next_;  // a line holds the weights of one k
  const int64_t lines_;
};

template <int kRows>
NRTD_INLINE void RunTile(const PackedProduct& p, const Panel& panel, size_t first_row) {
  Vector sums[kRows][kVectors];
  const float* rows[kRows];
  float* outputs[kRows];
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
    rows[r] = p.input + p.row_input[first_row + static_cast<size_t>(r)];
    outputs[r] = p.output + p.row_output[first_row + static_cast<size_t>(r)] + panel.first_column;
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      sums[r][v] = panel.bias != nullptr
                       ? Load(panel.bias + v * kLanes)
                       : LoadPart(outputs[r] + v * kLanes, panel.columns - v * kLanes, 0);
    }
  }
  const float* weights = panel.weights;
  for (const Run& run : panel.block->runs) {
    const float* values[kRows];
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) values[r] = rows[r] + run.offset;
    for (int64_t k = 0; k < run.length; ++k) {
      const Vector left = Load(weights);
      const Vector right = Load(weights + kLanes);
      weights += kPanelColumns;
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) {
        const float value = values[r][k];
        sums[r][0] += left * value;
        sums[r][1] += right * value;
      }
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      Vector sum = sums[r][v];
      if (panel.last) {
        // NaN stays NaN.
        sum = sum < All(p.least) ? All(p.least) : sum;
        sum = sum > All(p.most) ? All(p.most) : sum;
      }
      StorePart(outputs[r] + v * kLanes, panel.columns - v * kLanes, sum);
    }
  }
}

NRTD_INLINE void RunPanel(const PackedProduct& p, const Panel& panel, size_t row, size_t end) {
  Ahead ahead(panel, end - row);
  for (; row + kTileRows <= end; row += kTileRows) {
    ahead.FetchSome();
    RunTile<kTileRows>(p, panel, row);
  }
  switch (end - row) {
    case 5:
      return RunTile<5>(p, panel, row);
    case 4:
      return RunTile<4>(p, panel, row);
    case 3:
      return RunTile<3>(p, panel, row);
    case 2:
      return RunTile<2>(p, panel, row);
    case 1:
      return RunTile<1>(p, panel, row);
    default:
      return;
  }
}

[[gnu::target("avx2,fma")]] void RunAvx2(const PackedProduct& p) {
  const size_t rows = p.row_input.size();
  for (size_t row = 0; row < rows; row += kBlockRows) {
    const size_t end = std::min(row + kBlockRows, rows);
    const float* weights = p.weights;
    for (size_t b = 0; b < p.blocks.size(); ++b) {
      const DepthBlock& block = p.blocks[b];
      for (int64_t column = 0; column < p.columns; column += kPanelColumns) {
        RunPanel(p,
                 {&block, weights, b == 0 ? p.bias + column : nullptr, column,
                  std::min(kPanelColumns, p.columns - column), b + 1 == p.blocks.size()},
                 row, end);
        weights += block.depth * kPanelColumns;
      }
    }
  }
}

}  // namespace

std::vector<DepthBlock> CutDepth(std::span<const Run> runs) {
  std::vector<DepthBlock> blocks;
  for (Run run : runs) {
    while (run.length > 0) {
      if (blocks.empty() || blocks.back().depth == kBlockDepth) blocks.emplace_back();
      DepthBlock& block = blocks.back();
      const int64_t length = std::min(run.length, kBlockDepth - block.depth);
      block.runs.push_back({run.offset, length});
      block.depth += length;
      run.offset += static_cast<uint64_t>(length);
      run.length -= length;
    }
  }
  return blocks;
}

uint64_t PackedFloats(int64_t depth, int64_t columns) {
  return static_cast<uint64_t>(depth * ((columns + kPanelColumns - 1) / kPanelColumns) *
                               kPanelColumns);
}

bool HasPackedProduct() {
  static const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return has && !HasAvx512();
}

void RunPackedProduct(const PackedProduct& product) {
  RunAvx2(product);
}

}  // namespace nrtd::sim
