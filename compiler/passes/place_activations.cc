// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "compiler/passes/passes.h"

namespace nrtd::compiler {

void PlaceActivations(Graph& graph) {
  // The activations that follow each node, and those of inputs and constants.
  const std::vector<size_t> producers = graph.Producers();
  std::vector<std::vector<size_t>> followers(graph.nodes.size());
  std::vector<size_t> order;  // indices of nodes in their new order
  order.reserve(graph.nodes.size());
  std::vector<bool> follows(graph.nodes.size(), false);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (!std::holds_alternative<Activation>(graph.nodes[i].operation)) continue;
    const size_t producer = producers[graph.nodes[i].inputs[0]];
    if (producer == Graph::kNoNode) continue;
    followers[producer].push_back(i);
    follows[i] = true;
  }
  std::vector<size_t> pending;  // a stack, so that chains of activations stay together
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (follows[i]) continue;
    pending.push_back(i);
    while (!pending.empty()) {
      const size_t next = pending.back();
      pending.pop_back();
      order.push_back(next);
      pending.insert(pending.end(), followers[next].rbegin(), followers[next].rend());
    }
  }
  std::vector<Node> nodes;
  nodes.reserve(order.size());
  for (size_t i : order) nodes.push_back(std::move(graph.nodes[i]));
  graph.nodes = std::move(nodes);
}

}  // namespace nrtd::compiler
