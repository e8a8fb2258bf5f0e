// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/packed_product.h"

#include <cstring>

#include "driver_shim/sim/kernels/kernel.h"
#include "driver_shim/sim/kernels/packed_product_avx512.h"
#include "driver_shim/sim/kernels/packed_product_loop.h"
#include "driver_shim/sim/kernels/vector_math.h"

namespace nrtd::sim {
namespace {

NRTD_INLINE Vector Load(const void* from) {
  Vector vector;
  std::memcpy(&vector, from, sizeof(vector));
  return vector;
}
NRTD_INLINE float FloatAt(const Word* word) {
  float value;
  std::memcpy(&value, word, sizeof(value));
  return value;
}

// Six rows by 16 columns of sums: the most that AVX2's sixteen registers hold.
struct Avx2Tile {
  static constexpr int64_t kPanelColumns = 16;
  static constexpr int kVectors = kPanelColumns / kLanes;
  static constexpr bool kFinishes = false;  // with GELU; there is no register left for it

  template <int kRows>
  NRTD_INLINE static void Run(const PackedProduct& p, Panel& panel, size_t first_row) {
    // A sum waits for the one before it, so one or two rows have several of each, which take turns.
    constexpr int kTurns = kRows == 1 ? 4 : kRows == 2 ? 2 : 1;
    static_assert(kFetchWords % kTurns == 0);
    Vector sums[kRows][kVectors];
    Vector others[kTurns][kRows][kVectors] = {};  // [0] is not used
    const Word* rows[kRows];
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
    const Word* weights = panel.weights;
    const Word* next = panel.next;
    for (const sim::Run& run : panel.block->runs) {
      const Word* values[kRows];
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) values[r] = rows[r] + run.offset;
      const auto add = [&](int64_t k, Vector(&to)[kRows][kVectors]) __attribute__((always_inline)) {
        const Vector left = Load(weights);
        const Vector right = Load(weights + kLanes);
        weights += kPanelColumns;
#pragma GCC unroll 6
        for (int r = 0; r < kRows; ++r) {
          const float value = FloatAt(values[r] + k);
          to[r][0] += left * value;
          to[r][1] += right * value;
        }
      };
      int64_t k = 0;
      for (; k + kTurns <= run.length; k += kTurns) {
        if (k % kFetchWords == 0) {
          for (int64_t i = 0; i < panel.next_lines; ++i, next += kLineWords)
            __builtin_prefetch(next, /*rw=*/0, /*locality=*/2);
        }
        add(k, sums);
#pragma GCC unroll 4
        for (int turn = 1; turn < kTurns; ++turn) add(k + turn, others[turn]);
      }
      for (; k < run.length; ++k) add(k, sums);
    }
    panel.next = next;
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        Vector sum = sums[r][v];
#pragma GCC unroll 4
        for (int turn = 1; turn < kTurns; ++turn) sum += others[turn][r][v];
        if (panel.last) {
          // NaN stays NaN.
          sum = sum < All(p.clamp.least) ? All(p.clamp.least) : sum;
          sum = sum > All(p.clamp.most) ? All(p.clamp.most) : sum;
        }
        StorePart(outputs[r] + v * kLanes, panel.columns - v * kLanes, sum);
      }
    }
  }
};

[[gnu::target("avx2,fma")]] void RunAvx2(const PackedProduct& p) {
  RunProduct<Avx2Tile>(p);
}

}  // namespace

std::vector<DepthBlock> CutDepth(std::span<const Run> runs, const ProductForm& form) {
  std::vector<DepthBlock> blocks;
  for (Run run : runs) {
    while (run.length > 0) {
      if (blocks.empty() || blocks.back().depth == form.block_words) blocks.emplace_back();
      DepthBlock& block = blocks.back();
      const int64_t length = std::min(run.length, form.block_words - block.depth);
      block.runs.push_back({run.offset, length});
      block.depth += length;
      run.offset += static_cast<uint64_t>(length);
      run.length -= length;
    }
  }
  return blocks;
}

std::vector<const ProductForm*> ProductForms() {
  // Of a panel 16 KiB, for the first-level cache.
  static constexpr ProductForm kAvx2{"Avx2Float32", Avx2Tile::kPanelColumns, 256, false, RunAvx2};
  std::vector<const ProductForm*> forms;
  if (HasNativeBFloat16()) forms.push_back(&kAvx512BFloat16Form);
  if (HasAvx512()) forms.push_back(&kAvx512Float32Form);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) forms.push_back(&kAvx2);
  return forms;
}

namespace {

// The first one is the best.
const ProductForm* FindForm(bool pairs) {
  for (const ProductForm* form : ProductForms())
    if (form->pairs == pairs) return form;
  return nullptr;
}

}  // namespace

const ProductForm* Float32Form() {
  static const ProductForm* const form = FindForm(false);
  return form;
}

const ProductForm* BFloat16Form() {
  static const ProductForm* const form = FindForm(true);
  return form;
}

}  // namespace nrtd::sim
