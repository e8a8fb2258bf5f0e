// SPDX-License-Identifier: Apache-2.0
#include "compiler/passes/links.h"
#include "compiler/passes/passes.h"

namespace nrtd::compiler {
namespace {

std::optional<sim::Fused>* FusedOf(Node& node) {
  if (auto* conv = std::get_if<Conv>(&node.operation)) return &conv->fused;
  if (auto* product = std::get_if<MatMul>(&node.operation)) return &product->fused;
  if (auto* pair = std::get_if<Binary>(&node.operation)) return &pair->fused;
  return nullptr;
}

}  // namespace

void FuseActivations(Graph& graph) {
  Links links(graph);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const auto* activation = std::get_if<Activation>(&graph.nodes[i].operation);
    if (activation == nullptr) continue;
    const ValueId x = graph.nodes[i].inputs[0];
    const size_t maker = links.MakerOf(x);
    if (maker == Graph::kNoNode || !links.UsedOnce(x)) continue;
    auto* fused = FusedOf(graph.nodes[maker]);
    if (fused == nullptr || *fused) continue;
    *fused = sim::Fused{activation->function, activation->alpha, activation->beta};
    graph.nodes[maker].output = graph.nodes[i].output;
    links.SetMaker(graph.nodes[i].output, maker);
    links.Remove(i);
  }
  links.Sweep();
}

}  // namespace nrtd::compiler
