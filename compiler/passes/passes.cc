// SPDX-License-Identifier: Apache-2.0
#include "compiler/passes/passes.h"

namespace nrtd::compiler {

void RunPasses(Graph& graph) {
  FoldConstants(graph);
  RemoveDeadCode(graph);
  FuseBias(graph);
  PlaceActivations(graph);
}

}  // namespace nrtd::compiler
