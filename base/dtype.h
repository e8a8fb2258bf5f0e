// SPDX-License-Identifier: Apache-2.0
//
// The element types of tensors, with their names in neff.json ("float32", as numpy spells them,
// plus "bfloat16").
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nrtd {

// The numbers stand in instructions of the simulated core (docs/sim-isa.md): never renumber.
enum class DType : uint8_t {
  kFloat32 = 1,
  kBFloat16 = 2,
  kFloat16 = 3,
  kInt8 = 4,
  kUInt8 = 5,
  kInt16 = 6,
  kUInt16 = 7,
  kInt32 = 8,
  kUInt32 = 9,
  kInt64 = 10,
  kUInt64 = 11,
  kBool = 12,
  kFloat64 = 13,
};

std::optional<DType> DTypeFromName(std::string_view name);
std::string_view DTypeName(DType dtype);
// Bytes an element. 0 for a number that is no DType (decoders call this before they trust it).
uint64_t DTypeSize(DType dtype);

// Dimensions, outermost first. Empty is a scalar of one element.
using Shape = std::vector<int64_t>;

// Number of elements; nothing if a dimension is negative or the product overflows.
std::optional<uint64_t> ElementCount(std::span<const int64_t> shape);
// "[1,28,28]"
std::string ShapeText(std::span<const int64_t> shape);

// bfloat16 is the upper half of a float32. Rounds to nearest even; NaN stays NaN.
constexpr uint16_t FloatToBFloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  const bool is_nan = (bits & 0x7fffffffU) > 0x7f800000U;
  return static_cast<uint16_t>(is_nan ? (bits >> 16) | 0x40U : rounded);
}
constexpr float BFloat16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}
// IEEE binary16. Rounds to nearest even, beyond 65504 to infinity; NaN stays NaN.
uint16_t FloatToHalf(float value);
float HalfToFloat(uint16_t bits);

}  // namespace nrtd
