// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/packed_product_avx512.h"

#include <immintrin.h>

#include "driver_shim/sim/kernels/packed_product_loop.h"

// One set of instructions for all of this file, so that everything inlines. The compiler does not
// use those of bfloat16 by itself, so what multiplies float32 runs without them.
#define NRTD_FOR_CPU gnu::target("avx2,fma,avx512f,avx512bf16")
#define NRTD_INLINE_FOR_CPU [[gnu::always_inline, NRTD_FOR_CPU]] static inline

namespace nrtd::sim {
namespace {

constexpr int64_t kWide = 16;  // lanes

struct Float32 {
  NRTD_INLINE_FOR_CPU __m512 MultiplyAdd(__m512 sum, __m512i value, __m512i weights) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(value), _mm512_castsi512_ps(weights), sum);
  }
};
struct BFloat16 {
  NRTD_INLINE_FOR_CPU __m512 MultiplyAdd(__m512 sum, __m512i value, __m512i weights) {
    return _mm512_dpbf16_ps(sum, (__m512bh)value, (__m512bh)weights);
  }
};

template <typename Words>
struct Avx512Tile {
  static constexpr int64_t kPanelColumns = 64;

  template <int kRows>
  static void Run(const PackedProduct& p, Panel& panel, size_t row) {
    switch ((panel.columns + kWide - 1) / kWide) {
      case 4:
        return RunWidth<kRows, 4>(p, panel, row);
      case 3:
        return RunWidth<kRows, 3>(p, panel, row);
      case 2:
        return RunWidth<kRows, 2>(p, panel, row);
      default:
        return RunWidth<kRows, 1>(p, panel, row);
    }
  }

  template <int kRows, int kVectors>
  NRTD_INLINE_FOR_CPU void Step(__m512 (&sums)[kRows][kVectors], const Word* (&rows)[kRows],
                                uint64_t k, const Word* weights) {
    __m512i columns[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) columns[v] = _mm512_loadu_si512(weights + v * kWide);
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      const __m512i value = _mm512_set1_epi32(static_cast<int>(rows[r][k]));
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        sums[r][v] = Words::MultiplyAdd(sums[r][v], value, columns[v]);
    }
  }

  template <int kRows, int kVectors>
  [[gnu::noinline, NRTD_FOR_CPU]] static void RunWidth(const PackedProduct& p, Panel& panel,
                                                       size_t first_row) {
    constexpr int64_t kColumns = kVectors * kWide;
    __m512 sums[kRows][kVectors];
    const Word* rows[kRows];
    const auto rest = static_cast<uint32_t>(panel.columns - (kVectors - 1) * kWide);
    const auto mask = static_cast<__mmask16>((1U << rest) - 1);
    const auto output = [&](int r) {
      return p.output + p.row_output[first_row + static_cast<size_t>(r)] + panel.first_column;
    };
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      rows[r] = p.input + p.row_input[first_row + static_cast<size_t>(r)];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        if (panel.bias != nullptr) {
          sums[r][v] = _mm512_loadu_ps(panel.bias + v * kWide);
        } else if (v + 1 < kVectors) {
          sums[r][v] = _mm512_loadu_ps(output(r) + v * kWide);
        } else {
          sums[r][v] = _mm512_maskz_loadu_ps(mask, output(r) + v * kWide);
        }
      }
    }
    const Word* weights = panel.weights;
    const Word* next = panel.next;
    for (const sim::Run& run : panel.block->runs) {
      uint64_t k = run.offset;
      const uint64_t end = run.offset + static_cast<uint64_t>(run.length);
      for (; k + kFetchWords <= end; k += kFetchWords) {
        for (int64_t i = 0; i < panel.next_lines; ++i, next += kLineWords)
          __builtin_prefetch(next, /*rw=*/0, /*locality=*/2);
#pragma GCC unroll 4
        for (uint64_t i = 0; i < kFetchWords; ++i, weights += kColumns)
          Step<kRows, kVectors>(sums, rows, k + i, weights);
      }
      for (; k < end; ++k, weights += kColumns) Step<kRows, kVectors>(sums, rows, k, weights);
    }
    panel.next = next;
    if (panel.last) {
      const __m512 least = _mm512_set1_ps(p.least);
      const __m512 most = _mm512_set1_ps(p.most);
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) {
        // NaN, where it is the second operand, stays NaN.
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v)
          sums[r][v] = _mm512_min_ps(most, _mm512_max_ps(least, sums[r][v]));
      }
    }
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        if (v + 1 < kVectors) {
          _mm512_storeu_ps(output(r) + v * kWide, sums[r][v]);
        } else {
          _mm512_mask_storeu_ps(output(r) + v * kWide, mask, sums[r][v]);
        }
      }
    }
  }
};

template <typename Words>
[[NRTD_FOR_CPU]] void RunAvx512(const PackedProduct& p) {
  RunProduct<Avx512Tile<Words>>(p);
}

// Of 96 KiB of a panel, read by streams from the second-level cache.
constexpr int64_t kBlockWords = 384;

}  // namespace

[[NRTD_FOR_CPU]] void RoundToPairs(const float* from, int64_t count, Word* to) {
  constexpr int64_t kAtOnce = 2 * kWide;
  for (; count >= kAtOnce; count -= kAtOnce, from += kAtOnce, to += kWide) {
    const __m512bh pairs =
        _mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + kWide), _mm512_loadu_ps(from));
    _mm512_storeu_si512(to, (__m512i)pairs);
  }
  if (count == 0) return;
  const uint64_t mask = (uint64_t{1} << count) - 1;
  const __m512bh pairs = _mm512_cvtne2ps_pbh(
      _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> kWide), from + kWide),
      _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), from));
  _mm512_mask_storeu_epi32(to, static_cast<__mmask16>((1U << ((count + 1) / 2)) - 1),
                           (__m512i)pairs);
}

const ProductForm kAvx512Float32Form{"Avx512Float32", Avx512Tile<Float32>::kPanelColumns,
                                     kBlockWords, false, RunAvx512<Float32>};
const ProductForm kAvx512BFloat16Form{"Avx512BFloat16", Avx512Tile<BFloat16>::kPanelColumns,
                                      kBlockWords, true, RunAvx512<BFloat16>};

}  // namespace nrtd::sim
