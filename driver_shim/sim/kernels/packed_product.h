// SPDX-License-Identifier: Apache-2.0
//
// The inner loops of large products and convolutions with constant weights, where the library packs
// weights anew at every call, reads them in bad order, or waits for memory.
//
// c[row, column] = sum over k of a[row, k] x weights[k, column] + bias[column]. Values are read in
// words of 32 bits: one float32, or two bfloat16 that are neighbours along k. Weights lie as [block
// of words][panel of columns][word][column], in the order in which they are read: a panel's block
// stays in the cache while all rows meet it, and the one behind it is fetched meanwhile. Six rows
// by a panel's columns of sums stay in registers. A row's words need not lie together: they are
// runs, each at the same distance from the row's first word for all rows.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "driver_shim/sim/isa.h"

namespace nrtd::sim {

struct PackedProduct;

// Of either kind, wherever it lies.
using Word [[gnu::may_alias]] = uint32_t;

// How a CPU does it best.
struct ProductForm {
  const char* name;       // for people
  int64_t panel_columns;  // a multiple of kColumnGrain
  int64_t block_words;    // words of a row that meet a panel at once
  bool pairs;             // words of two bfloat16
  void (*run)(const PackedProduct& product);
};
inline constexpr int64_t kColumnGrain = 16;  // columns of packed weights are a multiple of this

// For float32 values, and for bfloat16 values. Null where this CPU has none: AVX2 with fused
// multiply-add is the least for float32, AVX-512 with its bfloat16 instructions for bfloat16.
const ProductForm* Float32Form();
const ProductForm* BFloat16Form();
// All that this CPU can run, those that are not the best included.
std::vector<const ProductForm*> ProductForms();

// Words of a row that lie together.
struct Run {
  uint64_t offset = 0;  // words from the row's first
  int64_t length = 0;
};

// Consecutive words that meet a panel while its weights for them are in the cache: together at most
// the form's block_words.
struct DepthBlock {
  std::vector<Run> runs;
  int64_t depth = 0;
};

// Cuts a row's runs into blocks.
std::vector<DepthBlock> CutDepth(std::span<const Run> runs, const ProductForm& form);

inline int64_t PackedColumns(int64_t columns) {
  return (columns + kColumnGrain - 1) / kColumnGrain * kColumnGrain;
}
// Words that packed weights take.
inline uint64_t PackedWords(int64_t depth, int64_t columns) {
  return static_cast<uint64_t>(depth * PackedColumns(columns));
}
// A panel's part of one block, as weights are packed: [depth][width].
struct PackedPart {
  int64_t first = 0;   // word
  int64_t depth = 0;   // words
  int64_t column = 0;  // first
  int64_t count = 0;   // columns, of which
  int64_t width = 0;   // are packed
};
// Calls pack(part, where its words go) for all of them, in the order in which they lie.
template <typename Pack>
void ForEachPackedPart(const ProductForm& form, std::span<const DepthBlock> blocks, int64_t columns,
                       Word* to, const Pack& pack) {
  int64_t first = 0;
  for (const DepthBlock& block : blocks) {
    for (int64_t column = 0; column < columns; column += form.panel_columns) {
      const int64_t count = std::min(form.panel_columns, columns - column);
      const int64_t width = PackedColumns(count);
      pack(PackedPart{first, block.depth, column, count, width}, to);
      to += block.depth * width;
    }
    first += block.depth;
  }
}
// Packs weights. `fill(word, column, count, to)` writes the words of so many columns. Leaves off
// when the stop is requested.
template <typename Fill>
void PackWords(const ProductForm& form, std::span<const DepthBlock> blocks, int64_t columns,
               const Fill& fill, Word* to, const std::stop_token& stop = {}) {
  ForEachPackedPart(form, blocks, columns, to, [&](const PackedPart& part, Word* words) {
    if (stop.stop_requested()) return;
    for (int64_t k = part.first; k < part.first + part.depth; ++k, words += part.width) {
      fill(k, part.column, part.count, words);
      std::fill(words + part.count, words + part.width, Word{0});
    }
  });
}
// Of float32 values; weight(k, column) is one.
template <typename Weight>
void PackFloats(const ProductForm& form, std::span<const DepthBlock> blocks, int64_t columns,
                const Weight& weight, Word* to, const std::stop_token& stop = {}) {
  PackWords(
      form, blocks, columns,
      [&](int64_t k, int64_t column, int64_t count, Word* words) {
        for (int64_t c = 0; c < count; ++c)
          words[c] = std::bit_cast<uint32_t>(float{weight(k, column + c)});
      },
      to, stop);
}

// What a function lets through that does no more than bring numbers into a range.
struct Clamp {
  float least = -std::numeric_limits<float>::infinity();
  float most = std::numeric_limits<float>::infinity();
  bool has_effect() const {
    return least > -std::numeric_limits<float>::infinity() ||
           most < std::numeric_limits<float>::infinity();
  }
};
// All numbers where there is no function; nothing for one that does more.
inline std::optional<Clamp> ClampOf(const std::optional<Fused>& fused) {
  if (!fused) return Clamp{};
  if (fused->function == Function::kRelu) return Clamp{.least = 0};
  if (fused->function == Function::kClip) return Clamp{fused->alpha, fused->beta};
  return std::nullopt;
}

struct PackedProduct {
  const Word* input = nullptr;
  float* output = nullptr;               // a row's columns lie together
  std::span<const uint64_t> row_input;   // words from `input` to a row's first
  std::span<const uint64_t> row_output;  // elements from `output` to a row's first column
  std::span<const DepthBlock> blocks;
  const Word* weights = nullptr;
  const float* bias = nullptr;  // [PackedColumns(columns)]
  int64_t columns = 0;
  // What is done to sums:
  Clamp clamp = {};
  bool gelu = false;  // or x/2 (1 + erf(x / sqrt 2))
};

}  // namespace nrtd::sim
