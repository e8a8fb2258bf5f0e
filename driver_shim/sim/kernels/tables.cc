// SPDX-License-Identifier: Apache-2.0
//
// POOL's instructions on elements of any type: gather, comparisons, selection, pairs of integers;
// and powers.
#include <cmath>
#include <cstring>

#include "driver_shim/sim/kernels/onednn.h"
#include "driver_shim/sim/kernels/strided.h"

namespace nrtd::sim {
namespace {

template <typename T>
DataRef<const T> InputAt(const Operand& operand, const KernelContext& context) {
  return DataRef<const T>(context.resolve(operand));
}
template <typename T>
DataRef<T> OutputAt(const Operand& operand, const KernelContext& context) {
  return DataRef<T>(context.resolve(operand));
}

template <typename T, typename Index>
class GatherKernel final : public Kernel {
 public:
  GatherKernel(const Gather& gather, const KernelContext& context)
      : gather_(gather),
        table_(InputAt<T>(gather.table, context)),
        indices_(InputAt<Index>(gather.indices, context)),
        output_(OutputAt<T>(gather.output, context)) {}

  bool Run() override {
    const auto& [table, indices, output] = gather_;
    const int64_t rows = table.dims[1];
    for (int64_t i = 0; i < indices.dims[0]; ++i) {
      const int64_t index = indices_[i * indices.strides[0]];
      const int64_t row = index < 0 ? index + rows : index;
      if (row < 0 || row >= rows) {
        bad_index_ = index;
        return false;
      }
      for (int64_t o = 0; o < table.dims[0]; ++o) {
        CopyRow(table_ + o * table.strides[0] + row * table.strides[1],
                output_ + o * output.strides[0] + i * output.strides[1]);
      }
    }
    return true;
  }
  std::optional<int64_t> bad_index() const override { return bad_index_; }

 private:
  void CopyRow(const T* from, T* to) const {
    const int64_t count = gather_.table.dims[2];
    const int64_t from_stride = gather_.table.strides[2];
    const int64_t to_stride = gather_.output.strides[2];
    if (from_stride == 1 && to_stride == 1) {
      std::memmove(to, from, static_cast<size_t>(count) * sizeof(T));
    } else {
      for (int64_t k = 0; k < count; ++k) to[k * to_stride] = from[k * from_stride];
    }
  }

  const Gather gather_;
  const DataRef<const T> table_;
  const DataRef<const Index> indices_;
  const DataRef<T> output_;
  std::optional<int64_t> bad_index_;
};

// output[...] = apply(a[...], b[...])
template <typename T, typename To, typename Apply>
class PairKernel final : public Kernel {
 public:
  PairKernel(const Operand& a, const Operand& b, const Operand& output,
             const KernelContext& context, Apply apply)
      : axes_(JoinAxesByStride<3>({&output, &a, &b})),
        output_(OutputAt<To>(output, context)),
        a_(InputAt<T>(a, context)),
        b_(InputAt<T>(b, context)),
        apply_(apply) {}

  bool Run() override {
    ForEachRow(axes_, [this](const auto& offsets, const StridedAxis<3>& axis) {
      To* output = output_ + offsets[0];
      const T* a = a_ + offsets[1];
      const T* b = b_ + offsets[2];
      for (int64_t i = 0; i < axis.size; ++i)
        output[i * axis.strides[0]] = apply_(a[i * axis.strides[1]], b[i * axis.strides[2]]);
    });
    return true;
  }

 private:
  const std::vector<StridedAxis<3>> axes_;
  const DataRef<To> output_;
  const DataRef<const T> a_;
  const DataRef<const T> b_;
  const Apply apply_;
};

template <typename T>
std::unique_ptr<Kernel> MakeCompareOf(const Compare& i, const KernelContext& context) {
  const auto make = [&](auto apply) -> std::unique_ptr<Kernel> {
    return std::make_unique<PairKernel<T, uint8_t, decltype(apply)>>(i.a, i.b, i.output, context,
                                                                     apply);
  };
  switch (i.comparison) {
    case Comparison::kEqual:
      return make([](T a, T b) -> uint8_t { return a == b; });
    case Comparison::kLess:
      return make([](T a, T b) -> uint8_t { return a < b; });
    case Comparison::kLessOrEqual:
      return make([](T a, T b) -> uint8_t { return a <= b; });
  }
  return nullptr;
}

template <typename T>
T Power(T base, T exponent) {
  if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 == 0 ? 1 : -1) : 0;
  using Unsigned = std::make_unsigned_t<T>;
  Unsigned result = 1;
  for (auto factor = static_cast<Unsigned>(base); exponent > 0; exponent /= 2, factor *= factor) {
    if (exponent % 2 == 1) result *= factor;
  }
  return static_cast<T>(result);
}

// Wraps around, as the unsigned type does.
template <typename T>
std::unique_ptr<Kernel> MakeIntegerBinaryOf(const Binary& i, const KernelContext& context) {
  using Unsigned = std::make_unsigned_t<T>;
  const auto make = [&](auto apply) -> std::unique_ptr<Kernel> {
    return std::make_unique<PairKernel<T, T, decltype(apply)>>(i.a, i.b, i.output, context, apply);
  };
  const auto wrap = [&](auto apply) {
    return make([apply](T a, T b) {
      return static_cast<T>(apply(static_cast<Unsigned>(a), static_cast<Unsigned>(b)));
    });
  };
  switch (i.function) {
    case BinaryFunction::kAdd:
      return wrap([](Unsigned a, Unsigned b) { return a + b; });
    case BinaryFunction::kSubtract:
      return wrap([](Unsigned a, Unsigned b) { return a - b; });
    case BinaryFunction::kMultiply:
      return wrap([](Unsigned a, Unsigned b) { return a * b; });
    case BinaryFunction::kDivide:
      return make([](T a, T b) {
        if (b == 0) return T{0};
        // The one quotient that does not fit.
        return b == -1 ? static_cast<T>(-static_cast<Unsigned>(a)) : static_cast<T>(a / b);
      });
    case BinaryFunction::kMaximum:
      return make([](T a, T b) { return a > b ? a : b; });
    case BinaryFunction::kMinimum:
      return make([](T a, T b) { return a < b ? a : b; });
    case BinaryFunction::kPower:
      return make([](T a, T b) { return Power(a, b); });
  }
  return nullptr;
}

template <typename T>
class SelectKernel final : public Kernel {
 public:
  SelectKernel(const Select& i, const KernelContext& context)
      : axes_(JoinAxesByStride<4>({&i.output, &i.condition, &i.a, &i.b})),
        output_(OutputAt<T>(i.output, context)),
        condition_(InputAt<uint8_t>(i.condition, context)),
        a_(InputAt<T>(i.a, context)),
        b_(InputAt<T>(i.b, context)) {}

  bool Run() override {
    ForEachRow(axes_, [this](const auto& offsets, const StridedAxis<4>& axis) {
      T* output = output_ + offsets[0];
      const uint8_t* condition = condition_ + offsets[1];
      const T* a = a_ + offsets[2];
      const T* b = b_ + offsets[3];
      const auto& s = axis.strides;
      for (int64_t i = 0; i < axis.size; ++i)
        output[i * s[0]] = condition[i * s[1]] != 0 ? a[i * s[2]] : b[i * s[3]];
    });
    return true;
  }

 private:
  const std::vector<StridedAxis<4>> axes_;
  const DataRef<T> output_;
  const DataRef<const uint8_t> condition_;
  const DataRef<const T> a_;
  const DataRef<const T> b_;
};

// Calls `make` with an unsigned number of the element's size: bits are all that matters.
template <typename Make>
std::unique_ptr<Kernel> ForSize(DType dtype, const Make& make) {
  switch (DTypeSize(dtype)) {
    case 1:
      return make(uint8_t{});
    case 2:
      return make(uint16_t{});
    case 4:
      return make(uint32_t{});
    default:
      return make(uint64_t{});
  }
}

}  // namespace

std::unique_ptr<Kernel> MakeGather(const Gather& gather, const KernelContext& context) {
  return ForSize(gather.table.dtype, [&](auto element) -> std::unique_ptr<Kernel> {
    using T = decltype(element);
    if (gather.indices.dtype == DType::kInt32)
      return std::make_unique<GatherKernel<T, int32_t>>(gather, context);
    return std::make_unique<GatherKernel<T, int64_t>>(gather, context);
  });
}

std::unique_ptr<Kernel> MakeCompare(const Compare& compare, const KernelContext& context) {
  switch (compare.a.dtype) {
    case DType::kFloat32:
      return MakeCompareOf<float>(compare, context);
    case DType::kInt32:
      return MakeCompareOf<int32_t>(compare, context);
    case DType::kInt64:
      return MakeCompareOf<int64_t>(compare, context);
    default:
      return MakeCompareOf<uint8_t>(compare, context);
  }
}

std::unique_ptr<Kernel> MakeSelect(const Select& select, const KernelContext& context) {
  return ForSize(select.output.dtype, [&](auto element) -> std::unique_ptr<Kernel> {
    return std::make_unique<SelectKernel<decltype(element)>>(select, context);
  });
}

std::unique_ptr<Kernel> MakeMappedBinary(const Binary& binary, const KernelContext& context) {
  if (binary.output.dtype == DType::kInt32) return MakeIntegerBinaryOf<int32_t>(binary, context);
  if (binary.output.dtype == DType::kInt64) return MakeIntegerBinaryOf<int64_t>(binary, context);
  if (binary.function != BinaryFunction::kPower) return nullptr;
  const auto power = [](float a, float b) { return std::pow(a, b); };
  return std::make_unique<PairKernel<float, float, decltype(power)>>(binary.a, binary.b,
                                                                     binary.output, context, power);
}

}  // namespace nrtd::sim
