// SPDX-License-Identifier: Apache-2.0
#include "compiler/lower/lower.h"
#include "compiler/lower/views.h"

namespace nrtd::compiler {

Result<void> Lower(const Node& node, const Activation& activation, LowerContext& context) {
  const Shape dims{static_cast<int64_t>(context.at(node.output).Elements())};
  context.Append(
      node, sim::Engine::kAct,
      sim::Activation{context.View(node.inputs[0], dims), context.View(node.output, dims),
                      activation.function, activation.alpha, activation.beta});
  return {};
}

Result<void> Lower(const Node& node, const Softmax& softmax, LowerContext& context) {
  const std::span<const int64_t> shape(context.at(node.output).shape);
  Shape dims{Product(shape.first(softmax.begin)),
             Product(shape.subspan(softmax.begin, softmax.end - softmax.begin))};
  if (const int64_t inner = Product(shape.subspan(softmax.end)); inner != 1) dims.push_back(inner);
  context.Append(node, sim::Engine::kAct,
                 sim::Softmax{context.View(node.inputs[0], dims), context.View(node.output, dims),
                              /*axis=*/1});
  return {};
}

}  // namespace nrtd::compiler
