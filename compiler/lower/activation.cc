// SPDX-License-Identifier: Apache-2.0
#include "compiler/lower/lower.h"
#include "compiler/lower/views.h"

namespace nrtd::compiler {
namespace {

Result<void> LowerMasked(const Node& node, const Softmax& softmax, LowerContext& context) {
  const Shape& full = context.at(node.output).shape;
  const Shape mask = PadRank(context.at(node.inputs[1]).shape, full.size());
  // The last dimension stays by itself, whatever the others are joined to.
  const auto leading = [](const Shape& s) { return Shape(s.begin(), s.end() - 1); };
  Joined joined = JoinDimensions(leading(full), {leading(mask)});
  joined.full.push_back(full.back());
  joined.parts[0].push_back(mask.back());
  if (joined.full.size() > sim::kMaxRank) {
    return Fail(Nerr::kInvalid, "needs {} dimensions, the core has {}", joined.full.size(),
                sim::kMaxRank);
  }
  const auto axis = static_cast<int64_t>(joined.full.size() - 1);
  context.Append(node, sim::Engine::kAct,
                 sim::Softmax{context.View(node.inputs[0], joined.full),
                              context.View(node.output, joined.full), axis, softmax.scale,
                              context.View(node.inputs[1], joined.parts[0])});
  return {};
}

}  // namespace

Result<void> Lower(const Node& node, const Activation& activation, LowerContext& context) {
  const Shape dims{static_cast<int64_t>(context.at(node.output).Elements())};
  context.Append(
      node, sim::Engine::kAct,
      sim::Activation{context.View(node.inputs[0], dims), context.View(node.output, dims),
                      activation.function, activation.alpha, activation.beta});
  return {};
}

Result<void> Lower(const Node& node, const Softmax& softmax, LowerContext& context) {
  if (node.inputs.size() == 2) return LowerMasked(node, softmax, context);
  const std::span<const int64_t> shape(context.at(node.output).shape);
  Shape dims{Product(shape.first(softmax.begin)),
             Product(shape.subspan(softmax.begin, softmax.end - softmax.begin))};
  if (const int64_t inner = Product(shape.subspan(softmax.end)); inner != 1) dims.push_back(inner);
  context.Append(node, sim::Engine::kAct,
                 sim::Softmax{context.View(node.inputs[0], dims), context.View(node.output, dims),
                              /*axis=*/1, softmax.scale, std::nullopt});
  return {};
}

Result<void> Lower(const Node& node, const LayerNorm& norm, LowerContext& context) {
  const Shape& shape = context.at(node.output).shape;
  const Shape dims{Product(std::span(shape).first(shape.size() - 1)), shape.back()};
  sim::LayerNorm instruction{context.View(node.inputs[0], dims), std::nullopt, std::nullopt,
                             context.View(node.output, dims), norm.epsilon};
  const Shape row{shape.back()};
  if (node.inputs.size() > 1) instruction.scale = context.View(node.inputs[1], row);
  if (node.inputs.size() > 2) instruction.bias = context.View(node.inputs[2], row);
  context.Append(node, sim::Engine::kAct, std::move(instruction));
  return {};
}

}  // namespace nrtd::compiler
