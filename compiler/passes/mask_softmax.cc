// SPDX-License-Identifier: Apache-2.0
#include "compiler/passes/links.h"
#include "compiler/passes/passes.h"

namespace nrtd::compiler {
namespace {

// softmax(scale x + mask), as attention computes it.
class SoftmaxMasker {
 public:
  explicit SoftmaxMasker(Graph& graph) : links_(graph) {}

  void Run() {
    for (Node& node : links_.graph().nodes) {
      auto* softmax = std::get_if<Softmax>(&node.operation);
      if (softmax == nullptr) continue;
      const size_t rank = links_.at(node.output).shape.size();
      if (node.inputs.size() == 1 && softmax->begin + 1 == rank) TakeMask(node);
      TakeScale(node, *softmax);
    }
  }

 private:
  void TakeMask(Node& node) {
    const auto terms = links_.PairOf(node.inputs[0], sim::BinaryFunction::kAdd);
    if (!terms || !links_.UsedOnce(node.inputs[0])) return;
    const Shape& shape = links_.at(node.output).shape;
    // A mask is repeated somewhere; two whole scores may as well be added by POOL.
    const auto is_mask = [&](ValueId mask, ValueId x) {
      return links_.at(x).shape == shape && links_.at(mask).shape != shape;
    };
    if (is_mask(terms->second, terms->first))
      node.inputs = {terms->first, terms->second};
    else if (is_mask(terms->first, terms->second))
      node.inputs = {terms->second, terms->first};
  }

  void TakeScale(Node& node, Softmax& softmax) {
    const auto line = links_.LineOf(node.inputs[0]);
    if (!line || line->beta != 0 || !links_.UsedOnce(node.inputs[0])) return;
    softmax.scale *= line->alpha;
    node.inputs[0] = line->x;
  }

  Links links_;
};

}  // namespace

void MaskSoftmax(Graph& graph) {
  SoftmaxMasker(graph).Run();
  RemoveDeadCode(graph);
}

}  // namespace nrtd::compiler
