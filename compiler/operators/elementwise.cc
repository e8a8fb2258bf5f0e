// SPDX-License-Identifier: Apache-2.0
#include "compiler/operators/operator.h"

namespace nrtd::compiler {

Result<void> BuildAdd(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(ValueId a, builder.FloatInput(node, 0));
  NRTD_ASSIGN(ValueId b, builder.FloatInput(node, 1));
  NRTD_ASSIGN(const ValueId output, builder.FloatOutput(node));
  const Shape& shape = builder.at(output).shape;
  if (!RepeatsTo(builder.at(a).shape, shape) || !RepeatsTo(builder.at(b).shape, shape)) {
    return Fail(Nerr::kInvalid, "{}: shapes {} and {} do not repeat to {}", Describe(node),
                ShapeText(builder.at(a).shape), ShapeText(builder.at(b).shape), ShapeText(shape));
  }
  // The one that is repeated second, as the instruction wants it.
  if (builder.at(a).shape != shape && builder.at(b).shape == shape) std::swap(a, b);
  builder.Append(node, Binary{sim::BinaryFunction::kAdd}, {a, b}, output);
  return {};
}

Result<void> BuildRelu(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.FloatInput(node, 0));
  NRTD_ASSIGN(const ValueId output, builder.FloatOutput(node));
  builder.Append(node, Activation{sim::Function::kRelu, 0, 0}, {x}, output);
  return {};
}

Result<void> BuildSoftmax(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.FloatInput(node, 0));
  NRTD_ASSIGN(const ValueId output, builder.FloatOutput(node));
  // Before operator set 13 everything from the axis on was one dimension, and the axis was 1 if
  // absent. Since then it is a single axis, the last one if absent.
  const bool single = builder.opset() >= 13;
  const auto rank = static_cast<int64_t>(builder.at(x).shape.size());
  int64_t axis = node.Attribute<int64_t>("axis", single ? -1 : 1);
  if (axis < 0) axis += rank;
  if (axis < 0 || axis >= rank) {
    return Fail(Nerr::kInvalid, "{}: axis {} is outside shape {}", Describe(node), axis,
                ShapeText(builder.at(x).shape));
  }
  const auto begin = static_cast<size_t>(axis);
  builder.Append(node, Softmax{begin, single ? begin + 1 : static_cast<size_t>(rank)}, {x}, output);
  return {};
}

}  // namespace nrtd::compiler
