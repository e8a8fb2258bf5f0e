// SPDX-License-Identifier: Apache-2.0
//
// The one kernel that oneDNN has no good counterpart for: any strides, repeated elements, any
// element type.
#include <cstring>

#include "driver_shim/sim/kernels/onednn.h"

namespace nrtd::sim {
namespace {

struct Axis {
  int64_t size;
  int64_t from;  // strides in elements
  int64_t to;
};

// Drops axes of one element and joins neighbours that both sides walk through without a gap.
std::vector<Axis> Simplify(const Operand& input, const Operand& output) {
  std::vector<Axis> axes;
  for (size_t d = 0; d < input.dims.size(); ++d) {
    const Axis axis{input.dims[d], input.strides[d], output.strides[d]};
    if (axis.size == 1) continue;
    if (!axes.empty() && axes.back().from == axis.size * axis.from &&
        axes.back().to == axis.size * axis.to) {
      axes.back() = {axes.back().size * axis.size, axis.from, axis.to};
    } else {
      axes.push_back(axis);
    }
  }
  if (axes.empty()) axes.push_back({1, 1, 1});
  return axes;
}

template <typename T>
struct Same {
  using From = T;
  using To = T;
  static T Convert(T value) { return value; }
};
struct Narrow {
  using From = float;
  using To = uint16_t;
  static uint16_t Convert(float value) { return FloatToBFloat16(value); }
};
struct Widen {
  using From = uint16_t;
  using To = float;
  static float Convert(uint16_t bits) { return BFloat16ToFloat(bits); }
};

template <typename C>
class CopyKernel final : public Kernel {
 public:
  CopyKernel(std::vector<Axis> axes, const std::byte* from, std::byte* to)
      : axes_(std::move(axes)),
        from_(reinterpret_cast<const typename C::From*>(from)),
        to_(reinterpret_cast<typename C::To*>(to)) {}

  bool Run() override {
    Walk(0, from_, to_);
    return true;
  }

 private:
  void Walk(size_t depth, const typename C::From* from, typename C::To* to) {
    const Axis& axis = axes_[depth];
    if (depth + 1 < axes_.size()) {
      for (int64_t i = 0; i < axis.size; ++i)
        Walk(depth + 1, from + i * axis.from, to + i * axis.to);
    } else if (std::is_same_v<typename C::From, typename C::To> && axis.from == 1 && axis.to == 1) {
      std::memmove(to, from, static_cast<size_t>(axis.size) * sizeof(*to));
    } else {
      for (int64_t i = 0; i < axis.size; ++i) to[i * axis.to] = C::Convert(from[i * axis.from]);
    }
  }

  std::vector<Axis> axes_;
  const typename C::From* from_;
  typename C::To* to_;
};

}  // namespace

std::unique_ptr<Kernel> MakeCopy(const Copy& copy, const KernelContext& context) {
  auto axes = Simplify(copy.input, copy.output);
  const std::byte* from = context.resolve(copy.input);
  std::byte* to = context.resolve(copy.output);
  if (copy.input.dtype != copy.output.dtype) {
    if (copy.input.dtype == DType::kFloat32)
      return std::make_unique<CopyKernel<Narrow>>(std::move(axes), from, to);
    return std::make_unique<CopyKernel<Widen>>(std::move(axes), from, to);
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
