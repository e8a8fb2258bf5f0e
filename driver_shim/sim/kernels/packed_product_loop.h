// SPDX-License-Identifier: Apache-2.0
//
// What the forms of packed_product.h share: the order in which panels, blocks and rows meet. To be
// inlined into a function that is compiled for the CPU.
#pragma once

#include <algorithm>

#include "driver_shim/sim/kernels/packed_product.h"
#include "driver_shim/sim/kernels/vector_math.h"

namespace nrtd::sim {

inline constexpr size_t kTileRows = 6;
// Of which a block's words stay in the second-level cache if they do not overlap.
inline constexpr size_t kBlockRows = 192;

// A panel's part for one block of words.
struct Panel {
  const DepthBlock* block;
  const Word* weights;
  const float* bias;  // of the panel; null: the sums so far are in the output
  int64_t first_column;
  int64_t columns;  // up to the form's panel_columns
  bool last;        // block: bring the sums into their range
  // Weights are read once in an execution, so they come from DRAM: while a panel's block meets its
  // rows, the next one, which lies behind it, is brought into the second-level cache. What is left
  // of it; tiles move it on.
  const Word* next;
  int64_t next_lines;  // for each kFetchWords words of a tile
};
inline constexpr int64_t kFetchWords = 4;
inline constexpr int64_t kLineWords = 16;

constexpr size_t TilesOf(size_t rows) {
  return (rows + kTileRows - 1) / kTileRows;
}

// x/2 (1 + erf(x / sqrt 2)) of rows that were just written. erf by formula 7.1.26 of Abramowitz and
// Stegun, whose error is below 1.5e-7.
NRTD_INLINE Vector Gelu(const Vector& x) {
  constexpr float kRootHalf = 0.70710678F;
  const Vector magnitude = (x < All(0) ? -x : x) * kRootHalf;
  const Vector t = 1 / (magnitude * 0.3275911F + 1);
  Vector p = All(1.061405429F);
  p = p * t - 1.453152027F;
  p = p * t + 1.421413741F;
  p = p * t - 0.284496736F;
  p = p * t + 0.254829592F;
  const Vector erf = 1 - p * t * Exp(-magnitude * magnitude);
  return 0.5F * x * (1 + (x < All(0) ? -erf : erf));
}

template <typename Tile>
NRTD_INLINE void RunPanel(const PackedProduct& p, Panel panel, size_t row, size_t end) {
  const size_t first = row;
  // Of about the same height: one of a row or two would wait for its sums.
  for (size_t tiles = TilesOf(end - row); tiles > 0; --tiles) {
    const size_t rows = (end - row + tiles - 1) / tiles;
    switch (rows) {
      case 6:
        Tile::template Run<6>(p, panel, row);
        break;
      case 5:
        Tile::template Run<5>(p, panel, row);
        break;
      case 4:
        Tile::template Run<4>(p, panel, row);
        break;
      case 3:
        Tile::template Run<3>(p, panel, row);
        break;
      case 2:
        Tile::template Run<2>(p, panel, row);
        break;
      default:
        Tile::template Run<1>(p, panel, row);
        break;
    }
    row += rows;
  }
  if (Tile::kFinishes || !panel.last || !p.gelu) return;
  for (size_t r = first; r < end; ++r) {
    float* output = p.output + p.row_output[r] + panel.first_column;
    for (int64_t c = 0; c < panel.columns; c += kLanes) {
      const int64_t left = panel.columns - c;
      StorePart(output + c, left, Gelu(LoadPart(output + c, left, 0)));
    }
  }
}

template <typename Tile>
NRTD_INLINE void RunProduct(const PackedProduct& p) {
  const size_t rows = p.row_input.size();
  for (size_t row = 0; row < rows; row += kBlockRows) {
    const size_t end = std::min(row + kBlockRows, rows);
    const auto tiles = static_cast<int64_t>(TilesOf(end - row));
    const Word* weights = p.weights;
    for (size_t b = 0; b < p.blocks.size(); ++b) {
      const DepthBlock& block = p.blocks[b];
      for (int64_t column = 0; column < p.columns; column += Tile::kPanelColumns) {
        const int64_t columns = std::min(Tile::kPanelColumns, p.columns - column);
        const Word* next = weights + block.depth * PackedColumns(columns);
        const int64_t lines = PackedColumns(columns) / kLineWords * kFetchWords;
        RunPanel<Tile>(p,
                       {.block = &block,
                        .weights = weights,
                        .bias = b == 0 ? p.bias + column : nullptr,
                        .first_column = column,
                        .columns = columns,
                        .last = b + 1 == p.blocks.size(),
                        .next = next,
                        .next_lines = (lines + tiles - 1) / tiles},
                       row, end);
        weights = next;
      }
    }
  }
}

}  // namespace nrtd::sim
