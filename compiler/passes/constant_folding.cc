// SPDX-License-Identifier: Apache-2.0
#include "compiler/evaluate.h"
#include "compiler/passes/passes.h"

namespace nrtd::compiler {

void FoldConstants(Graph& graph) {
  std::erase_if(graph.nodes, [&](const Node& node) {
    graph.values[node.output].data = Evaluate(graph, node);
    return graph.at(node.output).IsConstant();
  });
}

}  // namespace nrtd::compiler
