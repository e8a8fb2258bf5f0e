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

// exp(x) for x <= 0 to 2 units in the last place; below -87 it stays at exp(-87). As Exp() of
// vector_math.h, which names the source of its numbers.
NRTD_INLINE_FOR_CPU __m512 ExpOfNegative(__m512 x) {
  x = _mm512_max_ps(_mm512_set1_ps(-87.0F), x);
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504F)),
                                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375F), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4F), r);
  __m512 p = _mm512_set1_ps(1.9875691500e-4F);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1F));
  p = _mm512_add_ps(_mm512_fmadd_ps(_mm512_mul_ps(p, r), r, r), _mm512_set1_ps(1.0F));
  return _mm512_scalef_ps(p, n);
}

// Gelu() of packed_product_loop.h.
NRTD_INLINE_FOR_CPU __m512 WideGelu(__m512 x) {
  const __m512 one = _mm512_set1_ps(1.0F);
  // Beyond 12 all digits of erf are 1.
  const __m512 magnitude = _mm512_min_ps(
      _mm512_set1_ps(12.0F), _mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(0.70710678F)));
  const __m512 divisor = _mm512_fmadd_ps(magnitude, _mm512_set1_ps(0.3275911F), one);
  // Its estimate to 14 bits, and one step of Newton's.
  __m512 t = _mm512_rcp14_ps(divisor);
  t = _mm512_mul_ps(t, _mm512_fnmadd_ps(divisor, t, _mm512_set1_ps(2.0F)));
  __m512 p = _mm512_set1_ps(1.061405429F);
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-1.453152027F));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(1.421413741F));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-0.284496736F));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.254829592F));
  const __m512 e = ExpOfNegative(_mm512_fnmadd_ps(magnitude, magnitude, _mm512_setzero_ps()));
  // (1 + erf)/2 for x >= 0 is 1 - rest/2, for x < 0 rest/2.
  const __m512 half = _mm512_mul_ps(_mm512_mul_ps(p, t), _mm512_mul_ps(e, _mm512_set1_ps(0.5F)));
  const __mmask16 negative = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
  return _mm512_mul_ps(x, _mm512_mask_sub_ps(half, static_cast<__mmask16>(~negative), one, half));
}

template <typename Words>
struct Avx512Tile {
  static constexpr int64_t kPanelColumns = 64;
  static constexpr bool kFinishes = true;

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
    if (panel.last && p.gelu) {
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sums[r][v] = WideGelu(sums[r][v]);
      }
    } else if (panel.last && p.clamp.has_effect()) {
      const __m512 least = _mm512_set1_ps(p.clamp.least);
      const __m512 most = _mm512_set1_ps(p.clamp.most);
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

namespace {

// The first `count` of 16 lanes; all of them from 16 on, none from 0 down.
NRTD_INLINE_FOR_CPU __mmask16 First(int64_t count) {
  if (count >= kWide) return 0xffff;
  return static_cast<__mmask16>(count <= 0 ? 0 : (1U << count) - 1);
}

NRTD_INLINE_FOR_CPU __m512i Rounded(const float* from, __mmask16 mask) {
  const __m256bh halves = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, from));
  return _mm512_cvtepu16_epi32((__m256i)halves);
}

// Turns 16 rows of 16 words into their columns.
NRTD_INLINE_FOR_CPU void Transpose(__m512i (&rows)[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    rows[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    rows[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    rows[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    rows[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  // Now quarter q of rows[4 i + j] holds column 4 q + j of rows 4 i to 4 i + 3.
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512i even_low = _mm512_shuffle_i32x4(rows[j], rows[4 + j], 0x88);
    const __m512i odd_low = _mm512_shuffle_i32x4(rows[j], rows[4 + j], 0xdd);
    const __m512i even_high = _mm512_shuffle_i32x4(rows[8 + j], rows[12 + j], 0x88);
    const __m512i odd_high = _mm512_shuffle_i32x4(rows[8 + j], rows[12 + j], 0xdd);
    t[j] = _mm512_shuffle_i32x4(even_low, even_high, 0x88);
    t[8 + j] = _mm512_shuffle_i32x4(even_low, even_high, 0xdd);
    t[4 + j] = _mm512_shuffle_i32x4(odd_low, odd_high, 0x88);
    t[12 + j] = _mm512_shuffle_i32x4(odd_low, odd_high, 0xdd);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) rows[i] = t[i];
}

}  // namespace

[[NRTD_FOR_CPU]] void PackPairsOfRows(const float* from, int64_t stride, int64_t depth,
                                      int64_t columns, int64_t width, Word* to) {
  for (int64_t row = 0; row < depth; row += 2, from += 2 * stride, to += width) {
    const bool alone = row + 1 == depth;
    for (int64_t c = 0; c < width; c += kWide) {
      const __mmask16 mask = First(columns - c);
      const __m512i low = Rounded(from + c, mask);
      const __m512i high = alone ? _mm512_setzero_si512() : Rounded(from + stride + c, mask);
      _mm512_storeu_si512(to + c, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
  }
}

[[NRTD_FOR_CPU]] void PackPairsOfColumns(const float* from, int64_t stride, int64_t depth,
                                         int64_t columns, int64_t width, Word* to) {
  for (int64_t value = 0; value < depth; value += 2 * kWide, to += kWide * width) {
    const int64_t left = depth - value;
    for (int64_t c = 0; c < width; c += kWide) {
      __m512i words[kWide];
      for (int64_t i = 0; i < kWide; ++i) {
        const float* column = from + (c + i) * stride + value;
        const bool is_there = c + i < columns;
        const __m512 low = _mm512_maskz_loadu_ps(is_there ? First(left) : 0, column);
        const __m512 high =
            _mm512_maskz_loadu_ps(is_there ? First(left - kWide) : 0, column + kWide);
        words[i] = (__m512i)_mm512_cvtne2ps_pbh(high, low);
      }
      Transpose(words);
      const int64_t count = std::min((left + 1) / 2, kWide);
      for (int64_t i = 0; i < count; ++i) _mm512_storeu_si512(to + i * width + c, words[i]);
    }
  }
}

const ProductForm kAvx512Float32Form{"Avx512Float32", Avx512Tile<Float32>::kPanelColumns,
                                     kBlockWords, false, RunAvx512<Float32>};
const ProductForm kAvx512BFloat16Form{"Avx512BFloat16", Avx512Tile<BFloat16>::kPanelColumns,
                                      kBlockWords, true, RunAvx512<BFloat16>};

}  // namespace nrtd::sim
