// SPDX-License-Identifier: Apache-2.0
#include "compiler/passes/passes.h"

namespace nrtd::compiler {

void RunPasses(Graph& graph) {
  FoldConstants(graph);
  RemoveDeadCode(graph);
  RecogniseGelu(graph);
  RecogniseLayerNorm(graph);
  // A convolution's bias may be scaled behind it, and what is scaled may get a bias: batch
  // normalisation is both.
  FuseBias(graph);
  FuseScale(graph);
  FuseBias(graph);
  MaskSoftmax(graph);
  SkipUnreadParts(graph);
  FoldTransposes(graph);
  FuseActivations(graph);
  PutChannelsLast(graph);
  PlaceActivations(graph);
}

}  // namespace nrtd::compiler
