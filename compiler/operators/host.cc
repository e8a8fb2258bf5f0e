// SPDX-License-Identifier: Apache-2.0
//
// Operators that no engine has: calls of the host's functions (docs/host-nodes.md).
#include "compiler/operators/operator.h"

namespace nrtd::compiler {
namespace {

using Attributes = std::map<std::string, std::string>;

std::string Flag(const OnnxNode& node, const std::string& name, int64_t otherwise) {
  return node.Attribute<int64_t>(name, otherwise) != 0 ? "1" : "0";
}

Result<ValueId> NumberInput(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.Input(node, 0));
  const DType dtype = builder.at(x).dtype;
  if (dtype == DType::kFloat32 || dtype == DType::kInt32 || dtype == DType::kInt64) return x;
  return Fail(Nerr::kInvalid, "{}: it compares float32, int32 or int64, not {}", Describe(node),
              DTypeName(dtype));
}

}  // namespace

Result<void> BuildArgExtremum(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, NumberInput(node, builder));
  Shape shape = builder.at(x).shape;
  NRTD_ASSIGN(const size_t axis, AxisOf(node, node.Attribute<int64_t>("axis", 0), shape.size()));
  shape[axis] = 1;
  if (node.Attribute<int64_t>("keepdims", 1) == 0)
    shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(axis));
  NRTD_ASSIGN(const ValueId output, builder.Output(node, DType::kInt64, std::move(shape)));
  builder.Append(node,
                 HostCall{node.op_type == "ArgMax" ? "nrt_argmax" : "nrt_argmin",
                          {{"axis", fmt::to_string(axis)},
                           {"select_last_index", Flag(node, "select_last_index", 0)}},
                          output},
                 {x}, output);
  return {};
}

Result<void> BuildTopK(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, NumberInput(node, builder));
  const DType dtype = builder.at(x).dtype;
  if (dtype == DType::kInt64) {
    return Fail(Nerr::kInvalid, "{}: it sorts float32 or int32, not int64: cast before it",
                Describe(node));
  }
  Shape shape = builder.at(x).shape;
  NRTD_ASSIGN(const size_t axis, AxisOf(node, node.Attribute<int64_t>("axis", -1), shape.size()));
  NRTD_ASSIGN(const std::vector<int64_t> k, builder.Integers(node, 1));
  if (k.size() != 1 || k[0] < 1 || k[0] > shape[axis]) {
    return Fail(Nerr::kInvalid, "{}: k is not one of 1 to {}", Describe(node), shape[axis]);
  }
  shape[axis] = k[0];
  const Attributes attributes{{"axis", fmt::to_string(axis)},
                              {"largest", Flag(node, "largest", 1)}};
  const DType types[] = {dtype, DType::kInt64};
  std::optional<ValueId> call;  // the first of its outputs
  for (size_t result = 0; result < 2; ++result) {
    if (!node.HasOutput(result)) continue;
    NRTD_ASSIGN(const ValueId output, builder.Output(node, types[result], shape, result));
    if (!call) call = output;
    builder.Append(node, HostCall{"nrt_topk", attributes, *call, result}, {x}, output);
  }
  return {};
}

Result<void> BuildCumSum(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, NumberInput(node, builder));
  const DType dtype = builder.at(x).dtype;
  const Shape shape = builder.at(x).shape;
  NRTD_ASSIGN(const std::vector<int64_t> axes, builder.Integers(node, 1));
  if (axes.size() != 1) return Fail(Nerr::kInvalid, "{}: its axis is one number", Describe(node));
  NRTD_ASSIGN(const size_t axis, AxisOf(node, axes[0], shape.size()));
  NRTD_ASSIGN(const ValueId output, builder.Output(node, dtype, Shape(shape)));
  builder.Append(node,
                 HostCall{"nrt_cumsum",
                          {{"axis", fmt::to_string(axis)},
                           {"exclusive", Flag(node, "exclusive", 0)},
                           {"reverse", Flag(node, "reverse", 0)}},
                          output},
                 {x}, output);
  return {};
}

Result<void> BuildHostFunction(const OnnxNode& node, GraphBuilder& builder) {
  static const std::map<std::string, std::string> kFunctions = {
      {"Cos", "cos"}, {"Round", "round"}, {"Sign", "sign"}, {"Sin", "sin"}, {"Tan", "tan"}};
  NRTD_ASSIGN(const ValueId x, builder.FloatInput(node, 0));
  NRTD_ASSIGN(const ValueId output,
              builder.Output(node, DType::kFloat32, Shape(builder.at(x).shape)));
  builder.Append(node,
                 HostCall{"nrt_elementwise", {{"function", kFunctions.at(node.op_type)}}, output},
                 {x}, output);
  return {};
}

}  // namespace nrtd::compiler
