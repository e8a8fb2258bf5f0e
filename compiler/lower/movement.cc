// SPDX-License-Identifier: Apache-2.0
//
// POOL: rearranging, gathering, casts, reductions.
#include "compiler/lower/lower.h"
#include "compiler/lower/views.h"

namespace nrtd::compiler {
namespace {

// Without dimensions of one element, and with neighbours joined that both sides walk through
// without a gap.
Rearrange::Part JoinAxes(const Rearrange::Part& part) {
  Rearrange::Part joined{part.input, {}, part.from, {}, part.to, {}};
  for (size_t d = 0; d < part.dims.size(); ++d) {
    if (part.dims[d] == 1) continue;
    const bool joins = !joined.dims.empty() &&
                       joined.from_strides.back() == part.dims[d] * part.from_strides[d] &&
                       joined.to_strides.back() == part.dims[d] * part.to_strides[d];
    if (joins) {
      joined.dims.back() *= part.dims[d];
      joined.from_strides.back() = part.from_strides[d];
      joined.to_strides.back() = part.to_strides[d];
    } else {
      joined.dims.push_back(part.dims[d]);
      joined.from_strides.push_back(part.from_strides[d]);
      joined.to_strides.push_back(part.to_strides[d]);
    }
  }
  if (joined.dims.empty()) {
    joined.dims = joined.from_strides = joined.to_strides = {1};
  }
  return joined;
}

}  // namespace

Result<void> Lower(const Node& node, const Rearrange& rearrange, LowerContext& context) {
  for (const Rearrange::Part& whole : rearrange.parts) {
    const Rearrange::Part part = JoinAxes(whole);
    if (part.dims.size() > sim::kMaxRank) {
      return Fail(Nerr::kInvalid, "needs {} dimensions, the core has {}", part.dims.size(),
                  sim::kMaxRank);
    }
    context.Append(
        node, sim::Engine::kPool,
        sim::Copy{context.View(node.inputs[part.input], {part.dims, part.from_strides, part.from}),
                  context.View(node.output, {part.dims, part.to_strides, part.to})});
  }
  return {};
}

Result<void> Lower(const Node& node, const Cast&, LowerContext& context) {
  const Shape dims{static_cast<int64_t>(context.at(node.output).Elements())};
  context.Append(node, sim::Engine::kPool,
                 sim::Copy{context.View(node.inputs[0], dims), context.View(node.output, dims)});
  return {};
}

Result<void> Lower(const Node& node, const Gather& gather, LowerContext& context) {
  const std::span<const int64_t> table(context.at(node.inputs[0]).shape);
  const auto count = static_cast<int64_t>(context.at(node.inputs[1]).Elements());
  const int64_t outer = Product(table.first(gather.axis));
  const int64_t inner = Product(table.subspan(gather.axis + 1));
  context.Append(node, sim::Engine::kPool,
                 sim::Gather{context.View(node.inputs[0], {outer, table[gather.axis], inner}),
                             context.View(node.inputs[1], {count}),
                             context.View(node.output, {outer, count, inner})},
                 context.at(node.inputs[1]).name);
  return {};
}

Result<void> Lower(const Node& node, const Reduce& reduce, LowerContext& context) {
  const Joined joined = JoinDimensions(context.at(node.inputs[0]).shape, {reduce.kept});
  if (joined.full.size() > sim::kMaxRank) {
    return Fail(Nerr::kInvalid, "needs {} dimensions, the core has {}", joined.full.size(),
                sim::kMaxRank);
  }
  context.Append(node, sim::Engine::kPool,
                 sim::Reduce{context.View(node.inputs[0], joined.full),
                             context.View(node.output, joined.parts[0]), reduce.kind});
  return {};
}

}  // namespace nrtd::compiler
