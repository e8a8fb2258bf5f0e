// SPDX-License-Identifier: Apache-2.0
#include "runtime/host/axis_functions.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string_view>
#include <type_traits>

#include "runtime/host/elements.h"

namespace nrtd::runtime {
namespace {

// A tensor as [outer][length][inner], the axis in the middle.
struct AxisView {
  size_t axis = 0;
  uint64_t outer = 1;
  uint64_t length = 1;
  uint64_t inner = 1;

  // Calls run(first, step, line) for every line along the axis: where it begins and how far its
  // elements are apart, and which one it is.
  template <typename Run>
  void ForEachLine(const Run& run) const {
    if (outer == 0 || length == 0 || inner == 0) return;
    for (uint64_t o = 0; o < outer; ++o)
      for (uint64_t i = 0; i < inner; ++i) run(o * length * inner + i, inner, o * inner + i);
  }
};

bool Flag(const HostSignature& signature, const std::string& name, bool otherwise) {
  const auto found = signature.attributes.find(name);
  return found == signature.attributes.end() ? otherwise : found->second == "1";
}

Result<AxisView> ViewOf(const HostSignature& signature, const Shape& shape) {
  if (shape.empty()) return Misused("its input has a dimension");
  AxisView view;
  view.axis = shape.size() - 1;
  if (const auto given = signature.attributes.find("axis"); given != signature.attributes.end()) {
    const std::string& text = given->second;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), view.axis);
    if (error != std::errc() || end != text.data() + text.size() || view.axis >= shape.size())
      return Fail(Nerr::kInvalid, "its axis '{}' is not 0 to {}", text, shape.size() - 1);
  }
  for (size_t d = 0; d < shape.size(); ++d) {
    const auto size = static_cast<uint64_t>(shape[d]);
    (d < view.axis ? view.outer : d == view.axis ? view.length : view.inner) *= size;
  }
  if (view.length == 0) return Misused("its input has elements to compare");
  return view;
}

template <typename T>
bool IsNaN(T value) {
  if constexpr (std::is_floating_point_v<T>) return std::isnan(value);
  return false;
}
// Does `a` come before `b`? NaN comes first.
template <bool kLargest, typename T>
bool Before(T a, T b) {
  if (IsNaN(a) || IsNaN(b)) return IsNaN(a) && !IsNaN(b);
  return kLargest ? a > b : a < b;
}

// Calls make(T{}) with the element type.
template <typename Make>
Result<HostKernel> ForType(DType dtype, const Make& make) {
  switch (dtype) {
    case DType::kFloat32:
      return HostKernel(make(float{}));
    case DType::kInt32:
      return HostKernel(make(int32_t{}));
    case DType::kInt64:
      return HostKernel(make(int64_t{}));
    default:
      return Fail(Nerr::kInvalid, "it takes float32, int32 or int64, not {}", DTypeName(dtype));
  }
}

template <bool kLargest>
Result<HostKernel> PrepareArg(const HostSignature& signature) {
  if (signature.inputs.size() != 1 || signature.outputs.size() != 1)
    return Misused("it takes one input and makes one output");
  const HostTensorType& in = signature.inputs[0];
  const HostTensorType& out = signature.outputs[0];
  NRTD_ASSIGN(const AxisView view, ViewOf(signature, in.shape));
  Shape kept = in.shape;
  kept[view.axis] = 1;
  Shape dropped = in.shape;
  dropped.erase(dropped.begin() + static_cast<std::ptrdiff_t>(view.axis));
  if (out.dtype != DType::kInt64 || (out.shape != kept && out.shape != dropped))
    return Misused("it makes int64 without the axis, or with 1 along it");
  const bool last = Flag(signature, "select_last_index", false);
  return ForType(in.dtype, [=](auto type) {
    using T = decltype(type);
    return [=](std::span<const ByteSpan> inputs, std::span<const MutableByteSpan> outputs) {
      view.ForEachLine([&](uint64_t first, uint64_t step, uint64_t line) {
        uint64_t best = 0;
        T champion = At<T>(inputs[0], first);
        for (uint64_t i = 1; i < view.length; ++i) {
          const T value = At<T>(inputs[0], first + i * step);
          const bool wins =
              last ? !Before<kLargest>(champion, value) : Before<kLargest>(value, champion);
          if (!wins) continue;
          best = i;
          champion = value;
        }
        Put<int64_t>(outputs[0], line, static_cast<int64_t>(best));
      });
    };
  });
}

template <bool kLargest>
Result<HostKernel> PrepareSorted(const HostSignature& signature, const AxisView& view, uint64_t k) {
  const bool has_values = signature.outputs[0].dtype == signature.inputs[0].dtype;
  const bool has_indices = signature.outputs.size() > (has_values ? 1U : 0U);
  return ForType(signature.inputs[0].dtype, [=](auto type) {
    using T = decltype(type);
    return [=](std::span<const ByteSpan> inputs, std::span<const MutableByteSpan> outputs) {
      std::vector<uint64_t> order(view.length);
      view.ForEachLine([&](uint64_t first, uint64_t step, uint64_t line) {
        std::iota(order.begin(), order.end(), uint64_t{0});
        const auto middle = order.begin() + static_cast<std::ptrdiff_t>(k);
        std::partial_sort(order.begin(), middle, order.end(), [&](uint64_t a, uint64_t b) {
          const T left = At<T>(inputs[0], first + a * step);
          const T right = At<T>(inputs[0], first + b * step);
          if (Before<kLargest>(left, right)) return true;
          return !Before<kLargest>(right, left) && a < b;
        });
        const uint64_t to = line / step * k * step + line % step;
        for (uint64_t i = 0; i < k; ++i) {
          if (has_values)
            Put<T>(outputs[0], to + i * step, At<T>(inputs[0], first + order[i] * step));
          if (has_indices)
            Put<int64_t>(outputs[has_values ? 1 : 0], to + i * step,
                         static_cast<int64_t>(order[i]));
        }
      });
    };
  });
}

}  // namespace

Result<HostKernel> PrepareArgMax(const HostSignature& signature) {
  return PrepareArg<true>(signature);
}
Result<HostKernel> PrepareArgMin(const HostSignature& signature) {
  return PrepareArg<false>(signature);
}

Result<HostKernel> PrepareTopK(const HostSignature& signature) {
  if (signature.inputs.size() != 1 || signature.outputs.empty() || signature.outputs.size() > 2)
    return Misused("it takes one input and makes values, indices, or both");
  const HostTensorType& in = signature.inputs[0];
  NRTD_ASSIGN(const AxisView view, ViewOf(signature, in.shape));
  if (in.dtype == DType::kInt64) return Misused("it takes float32 or int32");
  if (signature.outputs[0].shape.size() != in.shape.size())
    return Misused("its outputs have the input's rank");
  const int64_t k = signature.outputs[0].shape[view.axis];
  Shape expected = in.shape;
  expected[view.axis] = k;
  if (k < 1 || k > in.shape[view.axis])
    return Fail(Nerr::kInvalid, "k is {}, but there are {} elements along the axis", k,
                in.shape[view.axis]);
  for (const HostTensorType& out : signature.outputs)
    if (out.shape != expected)
      return Misused("its outputs have the input's shape but for the axis");
  const bool types_fit =
      signature.outputs.size() == 2
          ? signature.outputs[0].dtype == in.dtype && signature.outputs[1].dtype == DType::kInt64
          : signature.outputs[0].dtype == in.dtype || signature.outputs[0].dtype == DType::kInt64;
  if (!types_fit) return Misused("it makes values of the input's type and indices of int64");
  return Flag(signature, "largest", true)
             ? PrepareSorted<true>(signature, view, static_cast<uint64_t>(k))
             : PrepareSorted<false>(signature, view, static_cast<uint64_t>(k));
}

Result<HostKernel> PrepareCumSum(const HostSignature& signature) {
  if (signature.inputs.size() != 1 || signature.outputs.size() != 1)
    return Misused("it takes one input and makes one output");
  const HostTensorType& in = signature.inputs[0];
  const HostTensorType& out = signature.outputs[0];
  if (out.shape != in.shape || out.dtype != in.dtype)
    return Misused("its output has the type and the shape of its input");
  NRTD_ASSIGN(const AxisView view, ViewOf(signature, in.shape));
  const bool exclusive = Flag(signature, "exclusive", false);
  const bool reverse = Flag(signature, "reverse", false);
  return ForType(in.dtype, [=](auto type) {
    using T = decltype(type);
    // Integers wrap around, as elsewhere.
    using Sum = std::conditional_t<std::is_integral_v<T>, uint64_t, T>;
    return [=](std::span<const ByteSpan> inputs, std::span<const MutableByteSpan> outputs) {
      view.ForEachLine([&](uint64_t first, uint64_t step, uint64_t) {
        Sum sum = 0;
        for (uint64_t i = 0; i < view.length; ++i) {
          const uint64_t at = first + (reverse ? view.length - 1 - i : i) * step;
          const Sum with = sum + static_cast<Sum>(At<T>(inputs[0], at));
          Put<T>(outputs[0], at, static_cast<T>(exclusive ? sum : with));
          sum = with;
        }
      });
    };
  });
}

Result<HostKernel> PrepareElementwise(const HostSignature& signature) {
  if (signature.inputs.size() != 1 || signature.outputs.size() != 1 ||
      signature.inputs[0].dtype != DType::kFloat32 ||
      signature.outputs[0].dtype != DType::kFloat32 ||
      signature.inputs[0].bytes != signature.outputs[0].bytes)
    return Misused("it takes one float32 input and makes one like it");
  struct Row {
    std::string_view name;
    float (*function)(float);
  };
  static constexpr Row kRows[] = {
      {"sin", [](float x) { return std::sin(x); }},
      {"cos", [](float x) { return std::cos(x); }},
      {"tan", [](float x) { return std::tan(x); }},
      {"round", [](float x) { return std::nearbyint(x); }},
      {"sign", [](float x) { return std::isnan(x) ? x : static_cast<float>((x > 0) - (x < 0)); }}};
  const auto given = signature.attributes.find("function");
  const std::string name = given == signature.attributes.end() ? "" : given->second;
  const auto* row = std::find_if(std::begin(kRows), std::end(kRows),
                                 [&](const Row& r) { return r.name == name; });
  if (row == std::end(kRows))
    return Fail(Nerr::kInvalid, "its function '{}' is not sin, cos, tan, round or sign", name);
  return [function = row->function](std::span<const ByteSpan> inputs,
                                    std::span<const MutableByteSpan> outputs) {
    for (uint64_t i = 0; i < outputs[0].size() / sizeof(float); ++i)
      Put<float>(outputs[0], i, function(At<float>(inputs[0], i)));
  };
}

}  // namespace nrtd::runtime
