// SPDX-License-Identifier: Apache-2.0
//
// Operators about shapes: those that give the same elements another one, and those whose result is
// known as soon as shapes are.
#include <algorithm>
#include <numeric>
#include <set>

#include "base/sizes.h"
#include "compiler/operators/operator.h"

namespace nrtd::compiler {
namespace {

ByteVector BytesOfIntegers(const std::vector<int64_t>& integers) {
  ByteVector bytes(integers.size() * sizeof(int64_t));
  if (!bytes.empty()) std::memcpy(bytes.data(), integers.data(), bytes.size());
  return bytes;
}

// 0 takes the input's dimension, -1 what is left.
Result<Shape> Reshaped(const OnnxNode& node, const Shape& from, std::vector<int64_t> to) {
  const bool zero_is_zero = node.Attribute<int64_t>("allowzero", 0) != 0;
  int64_t known = 1;
  auto rest = to.end();
  for (auto dimension = to.begin(); dimension != to.end(); ++dimension) {
    const auto d = static_cast<size_t>(dimension - to.begin());
    if (*dimension == 0 && !zero_is_zero && d < from.size()) *dimension = from[d];
    if (*dimension == -1 && rest == to.end()) {
      rest = dimension;
    } else if (*dimension > 0 && known <= INT64_MAX / *dimension) {
      known *= *dimension;
    } else {
      return Fail(Nerr::kInvalid, "{}: shape {} is impossible", Describe(node), ShapeText(to));
    }
  }
  const auto elements = static_cast<int64_t>(ElementCount(from).value_or(0));
  if (rest != to.end() && elements % known == 0) {
    *rest = elements / known;
    known = elements;
  }
  if (known != elements) {
    return Fail(Nerr::kInvalid, "{}: shape {} cannot become {}", Describe(node), ShapeText(from),
                ShapeText(to));
  }
  return to;
}

Result<Shape> Flattened(const OnnxNode& node, const Shape& from) {
  const auto rank = static_cast<int64_t>(from.size());
  int64_t axis = node.Attribute<int64_t>("axis", 1);
  if (axis < 0) axis += rank;
  if (axis < 0 || axis > rank) {
    return Fail(Nerr::kInvalid, "{}: axis {} is outside shape {}", Describe(node), axis,
                ShapeText(from));
  }
  const auto product = [&](int64_t begin, int64_t end) {
    return std::accumulate(from.begin() + begin, from.begin() + end, int64_t{1},
                           std::multiplies<>());
  };
  return Shape{product(0, axis), product(axis, rank)};
}

Result<Shape> Squeezed(const OnnxNode& node, const Shape& from, const std::vector<int64_t>& axes) {
  std::set<size_t> removed;
  for (int64_t axis : axes) {
    NRTD_ASSIGN(const size_t d, AxisOf(node, axis, from.size()));
    if (from[d] != 1) {
      return Fail(Nerr::kInvalid, "{}: dimension {} of {} is not 1", Describe(node), axis,
                  ShapeText(from));
    }
    removed.insert(d);
  }
  Shape to;
  for (size_t d = 0; d < from.size(); ++d) {
    const bool goes = axes.empty() ? from[d] == 1 : removed.contains(d);
    if (!goes) to.push_back(from[d]);
  }
  return to;
}

Result<Shape> Unsqueezed(const OnnxNode& node, const Shape& from,
                         const std::vector<int64_t>& axes) {
  const size_t rank = from.size() + axes.size();
  std::set<size_t> added;
  for (int64_t axis : axes) {
    NRTD_ASSIGN(const size_t d, AxisOf(node, axis, rank));
    if (!added.insert(d).second)
      return Fail(Nerr::kInvalid, "{}: axis {} is named twice", Describe(node), axis);
  }
  Shape to;
  auto next = from.begin();
  for (size_t d = 0; d < rank; ++d) to.push_back(added.contains(d) ? 1 : *next++);
  return to;
}

}  // namespace

Result<void> BuildReshape(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.Input(node, 0));
  const Shape from = builder.at(x).shape;
  Shape to;
  if (node.op_type == "Reshape") {
    NRTD_ASSIGN(const auto wanted, builder.Integers(node, 1));
    NRTD_ASSIGN(to, Reshaped(node, from, wanted));
  } else if (node.op_type == "Flatten") {
    NRTD_ASSIGN(to, Flattened(node, from));
  } else {
    NRTD_ASSIGN(const auto axes, ListOf(node, "axes", 1, builder));
    if (node.op_type == "Squeeze") {
      NRTD_ASSIGN(to, Squeezed(node, from, axes));
    } else {
      NRTD_ASSIGN(to, Unsqueezed(node, from, axes));
    }
  }
  NRTD_ASSIGN(const ValueId output, builder.Output(node, builder.at(x).dtype, std::move(to)));
  builder.Append(node, Reshape{}, {x}, output);
  return {};
}

// Shape, whole or from "start" to "end", and Size.
Result<void> BuildShape(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.Input(node, 0));
  std::vector<int64_t> shape = builder.at(x).shape;
  if (node.op_type == "Size") {
    const auto size = static_cast<int64_t>(builder.at(x).Elements());
    NRTD_ASSIGN(const ValueId output, builder.Output(node, DType::kInt64, {}));
    builder.Set(output, BytesOfIntegers({size}));
    return {};
  }
  const auto rank = static_cast<int64_t>(shape.size());
  const auto bound = [&](const std::string& name, int64_t otherwise) {
    const int64_t at = node.Attribute<int64_t>(name, otherwise);
    return std::clamp<int64_t>(at < 0 ? at + rank : at, 0, rank);
  };
  const int64_t start = bound("start", 0);
  const int64_t end = std::max(start, bound("end", rank));
  shape = {shape.begin() + start, shape.begin() + end};
  NRTD_ASSIGN(const ValueId output, builder.Output(node, DType::kInt64, {end - start}));
  builder.Set(output, BytesOfIntegers(shape));
  return {};
}

Result<void> BuildConstantOfShape(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(Shape shape, builder.Integers(node, 0));
  DType dtype = DType::kFloat32;
  ByteVector element(sizeof(float), std::byte{0});
  const auto value = node.attributes.find("value");
  if (value != node.attributes.end()) {
    const auto* tensor = std::get_if<OnnxTensor>(&value->second);
    if (tensor == nullptr || tensor->data.size() != DTypeSize(tensor->type.dtype))
      return Fail(Nerr::kInvalid, "{}: its value is not one element", Describe(node));
    dtype = tensor->type.dtype;
    element = tensor->data;
  }
  NRTD_ASSIGN(const ValueId output, builder.Output(node, dtype, Shape(shape)));
  // One element, repeated: by the core where that is large.
  const ValueId one = builder.Constant(node, "value", dtype, {}, std::move(element));
  builder.Append(node, Rearrange{{{0, shape, 0, Shape(shape.size(), 0), 0, DenseStrides(shape)}}},
                 {one}, output);
  return {};
}

Result<void> BuildRange(const OnnxNode& node, GraphBuilder& builder) {
  std::array<int64_t, 3> bounds{};
  for (size_t i = 0; i < bounds.size(); ++i) {
    NRTD_ASSIGN(const auto integers, builder.Integers(node, i));
    if (integers.size() != 1)
      return Fail(Nerr::kInvalid, "{}: its input {} is not one number", Describe(node), i);
    bounds[i] = integers[0];
  }
  const auto [start, limit, delta] = bounds;
  std::vector<int64_t> numbers;
  constexpr size_t kMost = 1 << 20;
  for (int64_t number = start; delta != 0 && (delta > 0 ? number < limit : number > limit);
       number += delta) {
    if (numbers.size() == kMost)
      return Fail(Nerr::kInvalid, "{} has more than {} numbers", Describe(node), kMost);
    numbers.push_back(number);
    if (!CheckedAdd(number, delta)) break;
  }
  NRTD_ASSIGN(const ValueId first, builder.Input(node, 0));
  const DType dtype = builder.at(first).dtype;
  const Shape shape{static_cast<int64_t>(numbers.size())};
  NRTD_ASSIGN(const ValueId output, builder.Output(node, dtype, shape));
  if (dtype == DType::kInt64) {
    builder.Set(output, BytesOfIntegers(numbers));
    return {};
  }
  const ValueId wide =
      builder.Constant(node, "numbers", DType::kInt64, shape, BytesOfIntegers(numbers));
  builder.Append(node, Cast{}, {wide}, output);
  return {};
}

}  // namespace nrtd::compiler
