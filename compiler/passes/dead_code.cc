// SPDX-License-Identifier: Apache-2.0
#include "compiler/passes/passes.h"

namespace nrtd::compiler {

void RemoveDeadCode(Graph& graph) {
  std::vector<bool> needed(graph.values.size(), false);
  for (ValueId output : graph.outputs) needed[output] = true;
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    if (!needed[graph.nodes[i].output]) continue;
    for (ValueId input : graph.nodes[i].inputs) needed[input] = true;
  }
  std::erase_if(graph.nodes, [&](const Node& node) { return !needed[node.output]; });
}

}  // namespace nrtd::compiler
