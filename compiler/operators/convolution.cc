// SPDX-License-Identifier: Apache-2.0
#include "compiler/operators/operator.h"
#include "compiler/operators/windows.h"

namespace nrtd::compiler {

Result<void> BuildConv(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.FloatInput(node, 0));
  NRTD_ASSIGN(const ValueId weights, builder.FloatInput(node, 1));
  std::vector<ValueId> inputs{x, weights};
  if (node.HasInput(2)) {
    NRTD_ASSIGN(const ValueId bias, builder.FloatInput(node, 2));
    inputs.push_back(bias);
  }
  NRTD_ASSIGN(const ValueId output, builder.FloatOutput(node));
  const Shape& in = builder.at(x).shape;
  const Shape& w = builder.at(weights).shape;
  const int64_t groups = node.Attribute<int64_t>("group", 1);
  if (in.size() < 3 || w.size() != in.size() || groups < 1 || w[0] % groups != 0 ||
      in[1] % groups != 0 || in[1] / groups != w[1]) {
    return Fail(Nerr::kInvalid, "{}: weights {} in {} groups do not fit an input of shape {}",
                Describe(node), ShapeText(w), groups, ShapeText(in));
  }
  if (inputs.size() == 3 && builder.at(inputs[2]).shape != Shape{w[0]}) {
    return Fail(Nerr::kInvalid, "{}: a bias of shape {} does not fit {} output channels",
                Describe(node), ShapeText(builder.at(inputs[2]).shape), w[0]);
  }
  NRTD_ASSIGN(const Windows windows,
              ReadWindows(node, in, builder.at(output).shape, Shape(w.begin() + 2, w.end())));
  builder.Append(node, Conv{windows.strides, windows.dilations, windows.pads, groups, std::nullopt},
                 std::move(inputs), output);
  return {};
}

}  // namespace nrtd::compiler
