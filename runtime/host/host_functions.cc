// SPDX-License-Identifier: Apache-2.0
#include "runtime/host/host_functions.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string_view>

#include "runtime/host/axis_functions.h"
#include "runtime/host/elements.h"

namespace nrtd::runtime {
namespace {

Result<void> CheckCounts(const HostSignature& signature) {
  if (signature.inputs.size() == 1 && signature.outputs.size() == 1) return {};
  return Misused("it takes one input and makes one output");
}

// The bytes as they are: reshapes, and TVM's __nop.
Result<HostKernel> PrepareCopy(const HostSignature& signature) {
  NRTD_TRY(CheckCounts(signature));
  const HostTensorType& in = signature.inputs[0];
  const HostTensorType& out = signature.outputs[0];
  if (in.bytes != out.bytes || in.dtype != out.dtype)
    return Misused("its output has the type and the size of its input");
  return [](std::span<const ByteSpan> inputs, std::span<const MutableByteSpan> outputs) {
    std::memcpy(outputs[0].data(), inputs[0].data(), outputs[0].size());
  };
}

// As numpy's astype does it: integers wrap around. But for a float that does not fit: the nearest
// value that does, NaN to 0.
template <typename To, typename From>
To ConvertTo(From value) {
  if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    if (std::isnan(value)) return 0;
    constexpr auto kLeast = static_cast<From>(std::numeric_limits<To>::min());
    constexpr auto kMost = static_cast<From>(std::numeric_limits<To>::max());
    if (value <= kLeast) return std::numeric_limits<To>::min();
    if (value >= kMost) return std::numeric_limits<To>::max();
    return static_cast<To>(value);
  } else {
    return static_cast<To>(value);
  }
}

template <typename From, typename To>
HostKernel CastKernel() {
  return [](std::span<const ByteSpan> inputs, std::span<const MutableByteSpan> outputs) {
    const uint64_t count = inputs[0].size() / sizeof(From);
    for (uint64_t i = 0; i < count; ++i)
      Put<To>(outputs[0], i, ConvertTo<To>(At<From>(inputs[0], i)));
  };
}

template <typename From>
Result<HostKernel> CastFrom(DType to) {
  switch (to) {
    case DType::kFloat32:
      return CastKernel<From, float>();
    case DType::kInt32:
      return CastKernel<From, int32_t>();
    case DType::kInt64:
      return CastKernel<From, int64_t>();
    case DType::kInt8:
      return CastKernel<From, int8_t>();
    case DType::kUInt8:
      return CastKernel<From, uint8_t>();
    default:
      return Fail(Nerr::kInvalid, "it does not cast to {}", DTypeName(to));
  }
}

Result<HostKernel> PrepareCast(const HostSignature& signature) {
  NRTD_TRY(CheckCounts(signature));
  const HostTensorType& in = signature.inputs[0];
  const HostTensorType& out = signature.outputs[0];
  if (in.shape != out.shape) return Misused("its output has the shape of its input");
  switch (in.dtype) {
    case DType::kFloat32:
      return CastFrom<float>(out.dtype);
    case DType::kInt32:
      return CastFrom<int32_t>(out.dtype);
    case DType::kInt64:
      return CastFrom<int64_t>(out.dtype);
    case DType::kInt8:
      return CastFrom<int8_t>(out.dtype);
    case DType::kUInt8:
      return CastFrom<uint8_t>(out.dtype);
    default:
      return Fail(Nerr::kInvalid, "it does not cast from {}", DTypeName(in.dtype));
  }
}

// "1,0,2" as numbers that are each of 0 to rank - 1 once; none: the axes reversed.
Result<std::vector<size_t>> Axes(const HostSignature& signature) {
  const size_t rank = signature.inputs[0].shape.size();
  std::vector<size_t> axes(rank);
  std::iota(axes.rbegin(), axes.rend(), size_t{0});
  const auto given = signature.attributes.find("axes");
  if (given == signature.attributes.end()) return axes;
  axes.clear();
  for (std::string_view rest = given->second; !rest.empty();) {
    const std::string_view word = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), word.size() + 1));
    size_t axis = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), axis);
    if (error != std::errc() || end != word.data() + word.size() || axis >= rank ||
        std::find(axes.begin(), axes.end(), axis) != axes.end())
      return Fail(Nerr::kInvalid, "its axes '{}' are not each of 0 to {} once", given->second,
                  rank - 1);
    axes.push_back(axis);
  }
  if (axes.size() == rank) return axes;
  return Fail(Nerr::kInvalid, "its axes '{}' are {}, not {}", given->second, axes.size(), rank);
}

Result<HostKernel> PrepareTranspose(const HostSignature& signature) {
  NRTD_TRY(CheckCounts(signature));
  const HostTensorType& in = signature.inputs[0];
  const HostTensorType& out = signature.outputs[0];
  NRTD_ASSIGN(const std::vector<size_t> axes, Axes(signature));
  Shape expected;
  for (const size_t axis : axes) expected.push_back(in.shape[axis]);
  if (out.shape != expected || out.dtype != in.dtype)
    return Misused("its output has the transposed shape and the type of its input");
  // How far one step along each axis of the output goes in the input, in elements.
  std::vector<uint64_t> strides(axes.size());
  for (size_t i = 0; i < axes.size(); ++i) {
    strides[i] = 1;
    for (size_t d = axes[i] + 1; d < in.shape.size(); ++d)
      strides[i] *= static_cast<uint64_t>(in.shape[d]);
  }
  const uint64_t size = DTypeSize(in.dtype);
  return [expected, strides, size](std::span<const ByteSpan> inputs,
                                   std::span<const MutableByteSpan> outputs) {
    std::vector<int64_t> index(expected.size(), 0);
    const uint64_t count = outputs[0].size() / size;
    uint64_t from = 0;
    for (uint64_t i = 0; i < count; ++i) {
      std::memcpy(outputs[0].data() + i * size, inputs[0].data() + from * size, size);
      for (size_t d = expected.size(); d-- > 0;) {
        from += strides[d];
        if (++index[d] < expected[d]) break;
        from -= strides[d] * static_cast<uint64_t>(expected[d]);
        index[d] = 0;
      }
    }
  };
}

// One dimension of 0 makes a tensor of no bytes whatever the others say: 2^62 times nothing.
Result<void> CheckNotEmpty(const HostSignature& signature) {
  for (const auto* tensors : {&signature.inputs, &signature.outputs}) {
    for (const HostTensorType& tensor : *tensors) {
      if (std::find(tensor.shape.begin(), tensor.shape.end(), 0) != tensor.shape.end()) {
        return Fail(Nerr::kInvalid, "a tensor of shape {} has no elements, and nothing to compute",
                    ShapeText(tensor.shape));
      }
    }
  }
  return {};
}

struct FunctionRow {
  std::string_view name;
  Result<HostKernel> (*prepare)(const HostSignature&);
};
constexpr FunctionRow kFunctions[] = {{"__nop", PrepareCopy},
                                      {"nrt_reshape", PrepareCopy},
                                      {"nrt_cast", PrepareCast},
                                      {"nrt_transpose", PrepareTranspose},
                                      {"nrt_argmax", PrepareArgMax},
                                      {"nrt_argmin", PrepareArgMin},
                                      {"nrt_topk", PrepareTopK},
                                      {"nrt_cumsum", PrepareCumSum},
                                      {"nrt_elementwise", PrepareElementwise}};

}  // namespace

Result<HostKernel> PrepareHostFunction(const std::string& name, const HostSignature& signature) {
  std::string known;
  for (const FunctionRow& row : kFunctions) {
    if (row.name == name) {
      NRTD_TRY(CheckNotEmpty(signature));
      return row.prepare(signature);
    }
    known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
  }
  return Fail(Nerr::kUnsupportedVersion,
              "function '{}' of the host CPU is not known here; known are {}. "
              "Compile the network with the neuron-cc of this release",
              name, AsIs(known));
}

}  // namespace nrtd::runtime
