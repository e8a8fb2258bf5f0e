// SPDX-License-Identifier: Apache-2.0
#include "compiler/lower/lower.h"
#include "compiler/lower/views.h"

namespace nrtd::compiler {

Result<void> Lower(const Node& node, const Conv& conv, LowerContext& context) {
  const ValueId weights = node.inputs[1];
  sim::Conv2d instruction{
      context.Images(node.inputs[0], conv.channels_last),
      context.WeightView(weights, AsImages(context.at(weights).shape), conv.precision),
      std::nullopt,
      context.Images(node.output, conv.channels_last),
      conv.strides,
      conv.dilations,
      conv.pads,
      conv.groups,
      conv.precision,
      conv.fused};
  if (node.inputs.size() == 3) {
    const ValueId bias = node.inputs[2];
    instruction.bias = context.View(bias, context.at(bias).shape);
  }
  context.Append(node, sim::Engine::kPe, std::move(instruction));
  return {};
}

}  // namespace nrtd::compiler
