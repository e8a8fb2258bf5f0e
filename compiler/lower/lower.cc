// SPDX-License-Identifier: Apache-2.0
#include "compiler/lower/lower.h"

#include "compiler/lower/views.h"

namespace nrtd::compiler {

sim::Operand LowerContext::View(ValueId id, Shape dims) const {
  const DType dtype = graph_.at(id).dtype;
  if (graph_.at(id).IsConstant())
    return sim::DenseOperand(plan_.files.at({id, dtype}), dtype, 0, std::move(dims));
  const Placement place = plan_.ScratchOf(id);
  return sim::DenseOperand(place.var_id, dtype, place.offset, std::move(dims));
}

sim::Operand LowerContext::View(ValueId id, const StridedView& view) const {
  sim::Operand operand = View(id, view.dims);
  operand.strides = view.strides;
  operand.offset += static_cast<uint64_t>(view.offset) * DTypeSize(operand.dtype);
  return operand;
}

sim::Operand LowerContext::Images(ValueId id, bool channels_last) const {
  const Shape& shape = at(id).shape;
  if (!channels_last) return View(id, AsImages(shape));
  const Shape strides = DenseStrides(shape);
  return View(id, {{shape[0], shape[3], shape[1], shape[2]},
                   {strides[0], strides[3], strides[1], strides[2]},
                   0});
}

sim::Operand LowerContext::WeightView(ValueId id, Shape dims, sim::Precision precision) const {
  const DType dtype = WeightType(precision);
  if (const auto file = plan_.files.find({id, dtype}); file != plan_.files.end())
    return sim::DenseOperand(file->second, dtype, 0, std::move(dims));
  return View(id, std::move(dims));
}

void LowerContext::Append(const Node& node, sim::Engine engine, sim::Instruction instruction,
                          const std::string& lookup) {
  instructions_.push_back({engine, std::move(instruction), node.name, lookup});
}

namespace {

// Reshapes are another view of the same bytes.
Result<void> LowerAny(const Node&, const Reshape&, LowerContext&) {
  return {};
}

Result<void> LowerAny(const Node&, const HostCall&, LowerContext&) {
  return Fail(Nerr::kFail, "a call of the host among a core's nodes: please report it");
}

template <typename Other>
Result<void> LowerAny(const Node& node, const Other& operation, LowerContext& context) {
  return Lower(node, operation, context);
}

// A constant that is an output: DMA takes outputs from where results lie.
void CopyConstant(ValueId id, const MemoryPlan& plan, LowerContext& context) {
  const Value& value = context.at(id);
  const Shape dims{static_cast<int64_t>(value.Elements())};
  const Placement to = plan.ScratchOf(id);
  context.Append({fmt::format("output '{}'", value.name), Reshape{}, {}, id}, sim::Engine::kPool,
                 sim::Copy{context.View(id, dims),
                           sim::DenseOperand(to.var_id, value.dtype, to.offset, dims)});
}

}  // namespace

Result<std::vector<TensorInstruction>> LowerGraph(const Graph& graph, const MemoryPlan& plan) {
  LowerContext context(graph, plan);
  for (ValueId output : graph.outputs) {
    if (graph.at(output).IsConstant()) CopyConstant(output, plan, context);
  }
  for (const Node& node : graph.nodes) {
    auto lowered = std::visit(
        [&](const auto& operation) { return LowerAny(node, operation, context); }, node.operation);
    if (!lowered) return tl::unexpected<Error>(std::move(lowered.error()).In(node.name));
  }
  return std::move(context).Take();
}

}  // namespace nrtd::compiler
