// SPDX-License-Identifier: Apache-2.0
//
// Who makes and who reads the values of a graph, for passes that look for patterns.
#pragma once

#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "compiler/ir.h"

namespace nrtd::compiler {

// A pass changes nodes in place and notes which have become superfluous; values and the order of
// nodes stay. Links are those of the graph as it was, so that a pass that has changed what a value
// is made by asks no further about that value.
class Links {
 public:
  explicit Links(Graph& graph)
      : graph_(graph),
        uses_(graph.UseCounts()),
        producers_(graph.Producers()),
        gone_(graph.nodes.size(), false) {}

  Graph& graph() { return graph_; }
  const Value& at(ValueId id) const { return graph_.at(id); }
  bool UsedOnce(ValueId id) const { return uses_[id] == 1; }
  // graph().nodes' index, or Graph::kNoNode for inputs, constants, and what a pass has removed.
  size_t MakerOf(ValueId id) const {
    const size_t maker = id < producers_.size() ? producers_[id] : Graph::kNoNode;
    return maker != Graph::kNoNode && gone_[maker] ? Graph::kNoNode : maker;
  }
  // The node that makes the value, and its operation, if that is a T.
  template <typename T>
  std::pair<Node*, T*> Made(ValueId id) {
    const size_t maker = MakerOf(id);
    if (maker == Graph::kNoNode) return {nullptr, nullptr};
    Node& node = graph_.nodes[maker];
    T* operation = std::get_if<T>(&node.operation);
    return {operation != nullptr ? &node : nullptr, operation};
  }

  // The value is made by node `maker` now.
  void SetMaker(ValueId id, size_t maker) { producers_[id] = maker; }
  void Remove(size_t node) { gone_[node] = true; }
  bool Removed(size_t node) const { return gone_[node]; }
  // At the end of the pass.
  void Sweep() {
    size_t at = 0;
    std::erase_if(graph_.nodes, [&](const Node&) { return gone_[at++]; });
  }

  // Of an activation alpha x + beta, or of a division by a constant number.
  struct Line {
    ValueId x;
    float alpha;
    float beta;
  };
  std::optional<Line> LineOf(ValueId id) {
    if (const auto quotient = PairOf(id, sim::BinaryFunction::kDivide)) {
      const auto divisor = ScalarOf(at(quotient->second));
      if (!divisor || !std::isnormal(1 / *divisor) || at(quotient->first).shape != at(id).shape)
        return std::nullopt;
      return Line{quotient->first, 1 / *divisor, 0};
    }
    const auto [node, activation] = Made<Activation>(id);
    if (node == nullptr || activation->function != sim::Function::kLinear) return std::nullopt;
    return Line{node->inputs[0], activation->alpha, activation->beta};
  }
  std::optional<ValueId> ArgumentOf(ValueId id, sim::Function function) {
    const auto [node, activation] = Made<Activation>(id);
    if (node == nullptr || activation->function != function) return std::nullopt;
    return node->inputs[0];
  }
  std::optional<std::pair<ValueId, ValueId>> PairOf(ValueId id, sim::BinaryFunction function) {
    const auto [node, binary] = Made<Binary>(id);
    if (node == nullptr || binary->function != function || binary->fused) return std::nullopt;
    return std::pair(node->inputs[0], node->inputs[1]);
  }

 private:
  Graph& graph_;
  std::vector<uint32_t> uses_;
  std::vector<size_t> producers_;
  std::vector<bool> gone_;
};

}  // namespace nrtd::compiler
