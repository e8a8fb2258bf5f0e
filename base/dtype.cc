// SPDX-License-Identifier: Apache-2.0
#include "base/dtype.h"

#include <bit>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/sizes.h"

namespace nrtd {
namespace {

struct DTypeRow {
  DType dtype;
  std::string_view name;
  uint64_t size;
};

constexpr DTypeRow kDTypes[] = {
    {DType::kFloat32, "float32", 4}, {DType::kBFloat16, "bfloat16", 2},
    {DType::kFloat16, "float16", 2}, {DType::kInt8, "int8", 1},
    {DType::kUInt8, "uint8", 1},     {DType::kInt16, "int16", 2},
    {DType::kUInt16, "uint16", 2},   {DType::kInt32, "int32", 4},
    {DType::kUInt32, "uint32", 4},   {DType::kInt64, "int64", 8},
    {DType::kUInt64, "uint64", 8},   {DType::kBool, "bool", 1},
    {DType::kFloat64, "float64", 8},
};

}  // namespace

std::optional<DType> DTypeFromName(std::string_view name) {
  for (const DTypeRow& row : kDTypes) {
    if (row.name == name) return row.dtype;
  }
  return std::nullopt;
}

std::string_view DTypeName(DType dtype) {
  for (const DTypeRow& row : kDTypes) {
    if (row.dtype == dtype) return row.name;
  }
  return "unknown";
}

uint64_t DTypeSize(DType dtype) {
  for (const DTypeRow& row : kDTypes) {
    if (row.dtype == dtype) return row.size;
  }
  return 0;
}

std::optional<uint64_t> ElementCount(std::span<const int64_t> shape) {
  uint64_t count = 1;
  for (int64_t dimension : shape) {
    if (dimension < 0) return std::nullopt;
    auto product = CheckedMultiply(count, static_cast<uint64_t>(dimension));
    if (!product) return std::nullopt;
    count = *product;
  }
  return count;
}

std::string ShapeText(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ","));
}

namespace {
constexpr int kHalfMantissa = 10;
constexpr float kLeastHalfNormal = 0x1p-14F;
}  // namespace

uint16_t FloatToHalf(float value) {
  const auto sign = static_cast<uint16_t>((std::bit_cast<uint32_t>(value) >> 16) & 0x8000U);
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) return sign | 0x7e00U;
  if (magnitude >= 65520.0F) return sign | 0x7c00U;  // half way beyond the largest, 65504
  // nearbyint() rounds to even. A result of 1024 carries into the exponent, as it should.
  if (magnitude < kLeastHalfNormal)
    return static_cast<uint16_t>(sign | static_cast<uint16_t>(std::nearbyint(magnitude * 0x1p24F)));
  const int exponent = std::ilogb(magnitude);
  const auto mantissa =
      static_cast<int>(std::nearbyint(std::ldexp(magnitude, kHalfMantissa - exponent)));
  return static_cast<uint16_t>(sign + ((exponent + 14) << kHalfMantissa) + mantissa);
}

float HalfToFloat(uint16_t bits) {
  const int exponent = (bits >> kHalfMantissa) & 0x1f;
  const auto mantissa = static_cast<float>(bits & 0x3ffU);
  float magnitude = 0;
  if (exponent == 0) {
    magnitude = std::ldexp(mantissa, -24);
  } else if (exponent == 0x1f) {
    magnitude = mantissa == 0 ? std::numeric_limits<float>::infinity()
                              : std::numeric_limits<float>::quiet_NaN();
  } else {
    magnitude = std::ldexp(mantissa + 1024.0F, exponent - 25);
  }
  return (bits & 0x8000U) != 0 ? -magnitude : magnitude;
}

}  // namespace nrtd
