// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/error.h"
#include "compiler/ir.h"
#include "compiler/memory_plan.h"
#include "compiler/schedule.h"
#include "neff/writer.h"

namespace nrtd::compiler {

// The NEFF of one core: neff.json, kelf-0.json, sg00/. The graph's unused inputs are in neff.json,
// for clients that go on feeding them, but not in sg00. The same arguments give the same contents,
// the UUID included: it is made of their digest. kFail if the streams do not pass the instruction
// set's own check.
Result<neff::NeffContents> Emit(const Graph& graph, const MemoryPlan& plan,
                                const Schedule& schedule, const std::string& name);

// What sim::Validate() is told of the program's surroundings.
sim::ProgramContext ContextOf(const MemoryPlan& plan, const Schedule& schedule);

}  // namespace nrtd::compiler
