// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "compiler/passes/links.h"
#include "compiler/passes/passes.h"

namespace nrtd::compiler {
namespace {

// A rearrangement that changes the order of the elements and nothing else, or takes a part of them,
// each once.
const Rearrange::Part* ViewOf(const Rearrange& rearrange, const Shape& output) {
  if (rearrange.parts.size() != 1) return nullptr;
  const Rearrange::Part& part = rearrange.parts[0];
  if (part.dims != output || part.to != 0 || part.to_strides != DenseStrides(output))
    return nullptr;
  for (size_t d = 0; d < part.dims.size(); ++d) {
    if (part.dims[d] != 1 && part.from_strides[d] <= 0) return nullptr;
  }
  return &part;
}

// PE reads matrices whose rows or whose columns are runs.
bool HasRuns(const Shape& dims, const Shape& strides) {
  const size_t rank = dims.size();
  return rank >= 2 && (strides[rank - 1] == 1 || strides[rank - 2] == 1);
}

class TransposeFolder {
 public:
  explicit TransposeFolder(Graph& graph) : links_(graph) {}

  void Run() {
    Graph& graph = links_.graph();
    for (Node& node : graph.nodes) {
      auto* product = std::get_if<MatMul>(&node.operation);
      if (product == nullptr || node.inputs.size() != 2) continue;
      if (product->transpose_a || product->transpose_b) continue;
      const bool matrices = links_.at(node.inputs[0]).shape.size() >= 2 &&
                            links_.at(node.inputs[1]).shape.size() >= 2;
      if (!matrices) continue;
      Read(node.inputs[0], product->view_a);
      Read(node.inputs[1], product->view_b);
    }
    for (size_t i = 0; i < graph.nodes.size(); ++i) Write(i);
    links_.Sweep();
  }

 private:
  void Read(ValueId& input, std::optional<StridedView>& view) {
    const auto [node, rearrange] = links_.Made<Rearrange>(input);
    if (node == nullptr || view) return;
    const Rearrange::Part* part = ViewOf(*rearrange, links_.at(input).shape);
    if (part == nullptr || !HasRuns(part->dims, part->from_strides)) return;
    view = StridedView{part->dims, part->from_strides, part->from};
    input = node->inputs[part->input];
  }

  // A transpose that is all that becomes of a product: the product writes where it would.
  void Write(size_t at) {
    Node& transpose = links_.graph().nodes[at];
    const auto* rearrange = std::get_if<Rearrange>(&transpose.operation);
    if (rearrange == nullptr) return;
    const Rearrange::Part* part = ViewOf(*rearrange, links_.at(transpose.output).shape);
    if (part == nullptr) return;
    const ValueId from = transpose.inputs[part->input];
    const auto [node, product] = links_.Made<MatMul>(from);
    if (node == nullptr || product->view_c || node->inputs.size() != 2 || product->transpose_a ||
        product->transpose_b || !links_.UsedOnce(from))
      return;
    const Shape& shape = links_.at(from).shape;
    const size_t rank = shape.size();
    const bool same_rank = links_.at(node->inputs[0]).shape.size() >= 2 &&
                           links_.at(node->inputs[1]).shape.size() >= 2;
    if (rank < 2 || !same_rank ||
        links_.at(transpose.output).Elements() != links_.at(from).Elements())
      return;
    const Shape dense = DenseStrides(shape);
    StridedView view{shape, Shape(rank, 0), 0};
    for (size_t d = 0; d < rank; ++d) {
      if (shape[d] == 1) continue;
      for (size_t j = 0; j < part->dims.size(); ++j) {
        if (part->dims[j] == shape[d] && part->from_strides[j] == dense[d])
          view.strides[d] = part->to_strides[j];
      }
      if (view.strides[d] == 0) return;  // not a mere change of order
    }
    if (shape[rank - 1] != 1 && view.strides[rank - 1] != 1) return;
    // A dimension of 1 steps nowhere; instructions want a step all the same.
    for (size_t d = 0; d < rank; ++d) view.strides[d] = std::max<int64_t>(view.strides[d], 1);
    product->view_c = std::move(view);
    const size_t maker = links_.MakerOf(from);
    node->output = transpose.output;
    links_.SetMaker(transpose.output, maker);
    links_.Remove(at);
  }

  Links links_;
};

}  // namespace

void FoldTransposes(Graph& graph) {
  TransposeFolder(graph).Run();
  RemoveDeadCode(graph);
}

}  // namespace nrtd::compiler
