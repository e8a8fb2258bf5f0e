// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "compiler/ir.h"
#include "compiler/memory_plan.h"
#include "compiler/partition.h"
#include "compiler/schedule.h"
#include "neff/writer.h"

namespace nrtd::compiler {

// What one core runs.
struct PieceProgram {
  const Graph* graph = nullptr;
  MemoryPlan plan;
  Schedule schedule;
};

// The whole network: neff.json with a node for each stage, kelf-<n>.json for each stage of cores,
// sg<nn>/ for each piece; `programs` are those of all pieces, in their order. The graph's unused
// inputs are in neff.json, for clients that go on feeding them, but in no subgraph. The same
// arguments give the same contents, the UUID included: it is made of their digest. kFail if streams
// do not pass the instruction set's own check.
Result<neff::NeffContents> Emit(const Graph& graph, const std::vector<Stage>& stages,
                                const std::vector<PieceProgram>& programs, const std::string& name);

// What sim::Validate() is told of the program's surroundings.
sim::ProgramContext ContextOf(const MemoryPlan& plan, const Schedule& schedule);

}  // namespace nrtd::compiler
