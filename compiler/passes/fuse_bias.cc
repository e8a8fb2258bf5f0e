// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "compiler/passes/passes.h"

namespace nrtd::compiler {
namespace {

// The addend as a bias of Conv: [1,O,1,1] and the like, of which the elements are [O].
bool IsChannelBias(const Value& addend, const Shape& output) {
  if (!addend.IsConstant() || addend.Elements() != static_cast<uint64_t>(output[1])) return false;
  Shape channels(output.size(), 1);
  channels[1] = output[1];
  // Leading dimensions of 1 may be missing.
  return addend.shape.size() + 1 >= output.size() && RepeatsTo(addend.shape, channels);
}

class Fuser {
 public:
  explicit Fuser(Graph& graph)
      : graph_(graph), uses_(graph.UseCounts()), producers_(graph.Producers()) {}

  // Does node `at`, an addition, vanish into the node that makes one of its inputs?
  bool Fuse(size_t at) {
    const Node& sum = graph_.nodes[at];
    const auto* binary = std::get_if<Binary>(&sum.operation);
    if (binary == nullptr || binary->function != sim::BinaryFunction::kAdd || binary->fused)
      return false;
    return FuseInto(sum.inputs[0], sum.inputs[1], sum.output) ||
           FuseInto(sum.inputs[1], sum.inputs[0], sum.output);
  }

 private:
  bool FuseInto(ValueId product, ValueId addend, ValueId sum) {
    const size_t at = producers_[product];
    // The product must be read by nothing else, the addend be there before the product.
    if (at == Graph::kNoNode || uses_[product] != 1 ||
        graph_.at(product).shape != graph_.at(sum).shape)
      return false;
    Node& node = graph_.nodes[at];
    const size_t made = producers_[addend];
    if (made != Graph::kNoNode && made >= at) return false;
    const auto* matmul = std::get_if<MatMul>(&node.operation);
    const auto* conv = std::get_if<Conv>(&node.operation);
    if (matmul == nullptr && conv == nullptr) return false;
    if (conv != nullptr ? conv->fused || conv->channels_last
                        : matmul->fused || matmul->view_a || matmul->view_b || matmul->view_c)
      return false;
    if (node.inputs.size() == 3) return AddToBias(node, addend, sum, at);
    if (matmul != nullptr) {
      if (!RepeatsTo(graph_.at(addend).shape, graph_.at(sum).shape)) return false;
      node.inputs.push_back(addend);
    } else {
      if (!IsChannelBias(graph_.at(addend), graph_.at(sum).shape)) return false;
      Value bias = graph_.at(addend);
      bias.shape = {graph_.at(sum).shape[1]};
      node.inputs.push_back(graph_.Add(std::move(bias)));
    }
    node.output = sum;
    producers_[sum] = at;
    return true;
  }

  // Two constants of one number a channel become one.
  bool AddToBias(Node& node, ValueId addend, ValueId sum, size_t at) {
    const Value& more = graph_.at(addend);
    Value bias = graph_.at(node.inputs[2]);
    const Shape& output = graph_.at(sum).shape;
    if (!bias.IsConstant() || !more.IsConstant() || bias.Elements() != more.Elements())
      return false;
    const bool fits = std::holds_alternative<Conv>(node.operation)
                          ? IsChannelBias(more, output)
                          : !bias.shape.empty() && bias.shape.back() == output.back() &&
                                !more.shape.empty() && more.shape.back() == output.back() &&
                                bias.Elements() == static_cast<uint64_t>(output.back());
    if (!fits) return false;
    std::vector<float> elements = FloatsOf(bias);
    const std::vector<float> others = FloatsOf(more);
    for (size_t i = 0; i < elements.size(); ++i) elements[i] += others[i];
    bias.data = BytesOf(elements);
    node.inputs[2] = graph_.Add(std::move(bias));
    node.output = sum;
    producers_[sum] = at;
    return true;
  }

  Graph& graph_;
  std::vector<uint32_t> uses_;
  std::vector<size_t> producers_;
};

}  // namespace

void FuseBias(Graph& graph) {
  Fuser fuser(graph);
  std::vector<bool> gone(graph.nodes.size(), false);
  for (size_t i = 0; i < graph.nodes.size(); ++i) gone[i] = fuser.Fuse(i);
  size_t at = 0;
  std::erase_if(graph.nodes, [&](const Node&) { return gone[at++]; });
}

}  // namespace nrtd::compiler
