// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/operand_values.h"

#include <bit>
#include <cstring>

#include "base/sizes.h"

namespace nrtd::sim {

uint64_t SpanElements(const Operand& operand) {
  uint64_t last = 0;
  for (size_t d = 0; d < operand.dims.size(); ++d) {
    last += static_cast<uint64_t>((operand.dims[d] - 1) * operand.strides[d]);
  }
  return last + 1;
}

std::vector<uint64_t> StartsOf(const Operand& operand, std::span<const int64_t> dims) {
  std::vector<uint64_t> starts{0};
  for (size_t d = 0; d < dims.size(); ++d) {
    const int64_t stride = operand.dims[d] == 1 ? 0 : operand.strides[d];
    std::vector<uint64_t> next;
    next.reserve(starts.size() * static_cast<size_t>(dims[d]));
    for (const uint64_t start : starts) {
      for (int64_t i = 0; i < dims[d]; ++i)
        next.push_back(start + static_cast<uint64_t>(i * stride));
    }
    starts = std::move(next);
  }
  return starts;
}

bool PacksTooMuch(const Operand& operand, uint64_t bytes) {
  constexpr uint64_t kMostGrowth = 8;  // Winograd's are 3.6 times as many at worst
  constexpr uint64_t kHarmless = 64 * kMiB;
  return bytes > kHarmless && bytes / (kMostGrowth * sizeof(float)) > SpanElements(operand);
}

// Written for the vectoriser: no branch.
void RoundRun(const float* from, float* to, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, from + i, sizeof(bits));
    const uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) & 0xffff0000U;
    const bool nan = (bits & 0x7fffffffU) > 0x7f800000U;
    const uint32_t result = nan ? bits : rounded;
    std::memcpy(to + i, &result, sizeof(result));
  }
}

WeightValues::WeightValues(const Operand& operand, Precision precision, const std::byte* data)
    : values_(reinterpret_cast<const float*>(data)) {
  const bool is_bfloat16 = operand.dtype == DType::kBFloat16;
  if (!is_bfloat16 && precision != Precision::kBFloat16) return;
  const uint64_t count = SpanElements(operand);
  own_ = AlignedMemory(count * sizeof(float));
  auto* own = reinterpret_cast<float*>(own_.data());
  if (is_bfloat16) {
    for (uint64_t i = 0; i < count; ++i) {
      uint16_t bits;
      std::memcpy(&bits, data + i * sizeof(bits), sizeof(bits));
      own[i] = BFloat16ToFloat(bits);
    }
  } else {
    RoundRun(values_, own, count);
  }
  values_ = own;
}

namespace {

uint32_t RoundBits(uint32_t bits) {
  return FloatToBFloat16(std::bit_cast<float>(bits));
}

template <typename Bits, typename Round>
void Interleave(const Bits* low, const Bits* high, int64_t stride, int64_t count,
                const Round& round, Word* to) {
  if (high == nullptr) {
    for (int64_t c = 0; c < count; ++c) to[c] = round(low[c * stride]);
  } else if (stride == 1) {
    for (int64_t c = 0; c < count; ++c) to[c] = round(low[c]) | round(high[c]) << 16;
  } else {
    for (int64_t c = 0; c < count; ++c)
      to[c] = round(low[c * stride]) | round(high[c * stride]) << 16;
  }
}

}  // namespace

MatrixValues::MatrixValues(const Operand& operand, const std::byte* data)
    : data_(data),
      is_bfloat16_(operand.dtype == DType::kBFloat16),
      rows_(operand.dims[operand.dims.size() - 2]),
      row_stride_(operand.strides[operand.dims.size() - 2]),
      column_stride_(operand.dims.back() == 1 ? 0 : operand.strides.back()) {}

void MatrixValues::CopyPairs(int64_t pair, int64_t column, int64_t count, Word* to) const {
  const int64_t at = 2 * pair * row_stride_ + column * column_stride_;
  const bool both = 2 * pair + 1 < rows_;
  if (is_bfloat16_) {
    using Half [[gnu::may_alias]] = uint16_t;
    const auto* low = reinterpret_cast<const Half*>(data_) + at;
    Interleave(
        low, both ? low + row_stride_ : nullptr, column_stride_, count,
        [](uint32_t bits) { return bits; }, to);
  } else {
    const auto* low = reinterpret_cast<const Word*>(data_) + at;
    Interleave(low, both ? low + row_stride_ : nullptr, column_stride_, count, RoundBits, to);
  }
}

}  // namespace nrtd::sim
