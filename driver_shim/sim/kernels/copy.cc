// SPDX-License-Identifier: Apache-2.0
//
// The one kernel that oneDNN has no good counterpart for: any strides, repeated elements, any
// element type, and casts between them.
#include <cmath>
#include <cstring>
#include <limits>

#include "driver_shim/sim/kernels/onednn.h"
#include "driver_shim/sim/kernels/strided.h"

namespace nrtd::sim {
namespace {

template <typename T>
struct Same {
  using From = T;
  using To = T;
  static T Convert(T value) { return value; }
};

// How elements of a type are kept, and as what they are computed with.
template <DType>
struct Element;
template <typename T>
struct Plain {
  using Stored = T;
  using Value = T;
  static T Load(T stored) { return stored; }
  static T Store(T value) { return value; }
};
template <>
struct Element<DType::kFloat32> : Plain<float> {};
template <>
struct Element<DType::kFloat64> : Plain<double> {};
template <>
struct Element<DType::kInt8> : Plain<int8_t> {};
template <>
struct Element<DType::kUInt8> : Plain<uint8_t> {};
template <>
struct Element<DType::kInt32> : Plain<int32_t> {};
template <>
struct Element<DType::kInt64> : Plain<int64_t> {};
template <>
struct Element<DType::kBFloat16> {
  using Stored = uint16_t;
  using Value = float;
  static float Load(uint16_t stored) { return BFloat16ToFloat(stored); }
  static uint16_t Store(float value) { return FloatToBFloat16(value); }
};
template <>
struct Element<DType::kFloat16> {
  using Stored = uint16_t;
  using Value = float;
  static float Load(uint16_t stored) { return HalfToFloat(stored); }
  static uint16_t Store(float value) { return FloatToHalf(value); }
};
template <>
struct Element<DType::kBool> {
  using Stored = uint8_t;
  using Value = bool;
  static bool Load(uint8_t stored) { return stored != 0; }
  static uint8_t Store(bool value) { return value ? 1 : 0; }
};

template <typename To, typename From>
To Nearest(From value) {
  if constexpr (std::is_same_v<To, bool>) {
    return value != From{};
  } else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    if (std::isnan(value)) return 0;
    // The limits as From, which may round them up: not below that is already too much.
    if (value >= static_cast<From>(std::numeric_limits<To>::max()))
      return std::numeric_limits<To>::max();
    if (value <= static_cast<From>(std::numeric_limits<To>::min()))
      return std::numeric_limits<To>::min();
    return static_cast<To>(value);
  } else {
    return static_cast<To>(value);
  }
}

template <DType kFrom, DType kTo>
struct Cast {
  using From = typename Element<kFrom>::Stored;
  using To = typename Element<kTo>::Stored;
  static To Convert(From value) {
    return Element<kTo>::Store(Nearest<typename Element<kTo>::Value>(Element<kFrom>::Load(value)));
  }
};

template <typename C>
class CopyKernel final : public Kernel {
 public:
  CopyKernel(std::vector<StridedAxis<2>> axes, Address from, Address to)
      : axes_(std::move(axes)), from_(from), to_(to) {}

  bool Run() override {
    ForEachRow(axes_, [this](const auto& offsets, const StridedAxis<2>& axis) {
      const auto* from = from_ + offsets[1];
      auto* to = to_ + offsets[0];
      const auto [to_stride, from_stride] = axis.strides;
      if (std::is_same_v<C, Same<typename C::From>> && from_stride == 1 && to_stride == 1) {
        std::memmove(to, from, static_cast<size_t>(axis.size) * sizeof(*to));
      } else {
        for (int64_t i = 0; i < axis.size; ++i)
          to[i * to_stride] = C::Convert(from[i * from_stride]);
      }
    });
    return true;
  }

 private:
  std::vector<StridedAxis<2>> axes_;
  DataRef<const typename C::From> from_;
  DataRef<typename C::To> to_;
};

// Calls `make` with the type as a constant; the types that Validate() lets casts have.
template <typename Make>
std::unique_ptr<Kernel> ForType(DType dtype, const Make& make) {
  switch (dtype) {
    case DType::kFloat32:
      return make(std::integral_constant<DType, DType::kFloat32>());
    case DType::kFloat64:
      return make(std::integral_constant<DType, DType::kFloat64>());
    case DType::kBFloat16:
      return make(std::integral_constant<DType, DType::kBFloat16>());
    case DType::kFloat16:
      return make(std::integral_constant<DType, DType::kFloat16>());
    case DType::kInt8:
      return make(std::integral_constant<DType, DType::kInt8>());
    case DType::kUInt8:
      return make(std::integral_constant<DType, DType::kUInt8>());
    case DType::kInt32:
      return make(std::integral_constant<DType, DType::kInt32>());
    case DType::kInt64:
      return make(std::integral_constant<DType, DType::kInt64>());
    case DType::kBool:
      return make(std::integral_constant<DType, DType::kBool>());
    default:
      return nullptr;
  }
}

}  // namespace

std::unique_ptr<Kernel> MakeCopy(const Copy& copy, const KernelContext& context) {
  auto axes = JoinAxesByStride<2>({&copy.output, &copy.input});
  const Address from = context.resolve(copy.input);
  const Address to = context.resolve(copy.output);
  if (copy.input.dtype != copy.output.dtype) {
    return ForType(copy.input.dtype, [&](auto input) {
      return ForType(copy.output.dtype, [&](auto output) -> std::unique_ptr<Kernel> {
        return std::make_unique<CopyKernel<Cast<input(), output()>>>(std::move(axes), from, to);
      });
    });
  }
  switch (DTypeSize(copy.input.dtype)) {
    case 1:
      return std::make_unique<CopyKernel<Same<uint8_t>>>(std::move(axes), from, to);
    case 2:
      return std::make_unique<CopyKernel<Same<uint16_t>>>(std::move(axes), from, to);
    case 4:
      return std::make_unique<CopyKernel<Same<uint32_t>>>(std::move(axes), from, to);
    default:
      return std::make_unique<CopyKernel<Same<uint64_t>>>(std::move(axes), from, to);
  }
}

}  // namespace nrtd::sim
