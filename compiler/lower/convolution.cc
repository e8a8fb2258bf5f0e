// SPDX-License-Identifier: Apache-2.0
#include "compiler/lower/lower.h"
#include "compiler/lower/views.h"

namespace nrtd::compiler {

Result<void> Lower(const Node& node, const Conv& conv, LowerContext& context) {
  const auto images = [&](ValueId id) { return AsImages(context.at(id).shape); };
  sim::Conv2d instruction{context.View(node.inputs[0], images(node.inputs[0])),
                          context.WeightView(node.inputs[1], images(node.inputs[1])),
                          std::nullopt,
                          context.View(node.output, images(node.output)),
                          conv.strides,
                          conv.dilations,
                          conv.pads,
                          conv.groups,
                          context.precision(),
                          conv.fused};
  if (node.inputs.size() == 3) {
    const ValueId bias = node.inputs[2];
    instruction.bias = context.View(bias, context.at(bias).shape);
  }
  context.Append(node, sim::Engine::kPe, std::move(instruction));
  return {};
}

}  // namespace nrtd::compiler
