// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/operand_values.h"

#include <cstring>

namespace nrtd::sim {

uint64_t SpanElements(const Operand& operand) {
  uint64_t last = 0;
  for (size_t d = 0; d < operand.dims.size(); ++d) {
    last += static_cast<uint64_t>((operand.dims[d] - 1) * operand.strides[d]);
  }
  return last + 1;
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
  own_.size = count * sizeof(float);
  own_.data.reset(AllocateAligned(own_.size));
  auto* own = reinterpret_cast<float*>(own_.data.get());
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

}  // namespace nrtd::sim
