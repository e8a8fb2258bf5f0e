// SPDX-License-Identifier: Apache-2.0
#include "compiler/lower/elementwise.h"
#include "compiler/lower/lower.h"
#include "compiler/lower/views.h"

namespace nrtd::compiler {

Result<Aligned> Align(const Node& node, const LowerContext& context) {
  const Shape& full = context.at(node.output).shape;
  std::vector<Shape> inputs;
  for (ValueId input : node.inputs) inputs.push_back(PadRank(context.at(input).shape, full.size()));
  Joined joined = JoinDimensions(full, inputs);
  if (joined.full.size() > sim::kMaxRank) {
    return Fail(Nerr::kInvalid, "needs {} dimensions, the core has {}", joined.full.size(),
                sim::kMaxRank);
  }
  return Aligned{std::move(joined.full), std::move(joined.parts)};
}

sim::Operand Repeated(sim::Operand operand, const Shape& full) {
  for (size_t d = 0; d < full.size(); ++d) {
    if (operand.dims[d] != full[d]) operand.strides[d] = 0;
  }
  operand.dims = full;
  return operand;
}

Result<void> Lower(const Node& node, const Binary& binary, LowerContext& context) {
  NRTD_ASSIGN(const Aligned aligned, Align(node, context));
  const sim::Operand output = context.View(node.output, aligned.full);
  sim::Operand left = context.View(node.inputs[0], aligned.inputs[0]);
  if (left.dims != aligned.full) {
    context.Append(node, sim::Engine::kPool, sim::Copy{Repeated(left, aligned.full), output});
    left = output;
  }
  context.Append(node, sim::Engine::kPool,
                 sim::Binary{left, context.View(node.inputs[1], aligned.inputs[1]), output,
                             binary.function, binary.fused});
  return {};
}

Result<void> Lower(const Node& node, const Compare& compare, LowerContext& context) {
  NRTD_ASSIGN(const Aligned aligned, Align(node, context));
  const auto input = [&](size_t i) {
    return Repeated(context.View(node.inputs[i], aligned.inputs[i]), aligned.full);
  };
  context.Append(node, sim::Engine::kPool,
                 sim::Compare{input(0), input(1), context.View(node.output, aligned.full),
                              compare.comparison});
  return {};
}

Result<void> Lower(const Node& node, const Select&, LowerContext& context) {
  NRTD_ASSIGN(const Aligned aligned, Align(node, context));
  const auto input = [&](size_t i) {
    return Repeated(context.View(node.inputs[i], aligned.inputs[i]), aligned.full);
  };
  context.Append(
      node, sim::Engine::kPool,
      sim::Select{input(0), input(1), input(2), context.View(node.output, aligned.full)});
  return {};
}

}  // namespace nrtd::compiler
