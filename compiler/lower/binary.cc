// SPDX-License-Identifier: Apache-2.0
#include "compiler/lower/lower.h"
#include "compiler/lower/views.h"

namespace nrtd::compiler {
namespace {

// Where an operand has 1 and the full shape has more, the same element is read again.
sim::Operand Repeated(sim::Operand operand, const Shape& full) {
  for (size_t d = 0; d < full.size(); ++d) {
    if (operand.dims[d] != full[d]) operand.strides[d] = 0;
  }
  operand.dims = full;
  return operand;
}

}  // namespace

Result<void> Lower(const Node& node, const Binary& binary, LowerContext& context) {
  const Shape& full = context.at(node.output).shape;
  const ValueId a = node.inputs[0];
  const ValueId b = node.inputs[1];
  const Joined joined = JoinDimensions(
      full, {PadRank(context.at(a).shape, full.size()), PadRank(context.at(b).shape, full.size())});
  if (joined.full.size() > sim::kMaxRank) {
    return Fail(Nerr::kInvalid, "needs {} dimensions, the core has {}", joined.full.size(),
                sim::kMaxRank);
  }
  const sim::Operand output = context.View(node.output, joined.full);
  sim::Operand left = context.View(a, joined.parts[0]);
  if (left.dims != joined.full) {
    context.Append(node, sim::Engine::kPool, sim::Copy{Repeated(left, joined.full), output});
    left = output;
  }
  context.Append(node, sim::Engine::kPool,
                 sim::Binary{left, context.View(b, joined.parts[1]), output, binary.function});
  return {};
}

}  // namespace nrtd::compiler
