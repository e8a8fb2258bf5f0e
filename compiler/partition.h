// SPDX-License-Identifier: Apache-2.0
//
// Who runs what: a network's nodes go to NeuronCores, cut into as many pieces as a pipeline shall
// have, and what no engine has goes to the host's CPUs in between.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "compiler/ir.h"

namespace nrtd::compiler {

// A node of neff.json: nodes of the network that run on cores, one piece behind the other, or one
// call of a function of the host.
struct Stage {
  // One core's each: a graph of its own. Its inputs and outputs bear the names of the whole
  // network's values; what one piece hands to the next is an output of the one and an input of the
  // other. Empty for a call.
  std::vector<Graph> pieces;
  std::optional<HostCall> call;
  std::string name;              // of a call, for people
  std::vector<ValueId> inputs;   // of the whole network, made before
  std::vector<ValueId> outputs;  // in the order of HostCall::result for a call
};

// The stages in an order in which they can run; as few as the host's functions allow. Stages of
// cores share `cores` by what they cost, with one each at least: no more pieces than `cores`,
// unless there are more stages. Gives values that pass between stages or pieces names of their own.
// kInvalid: `cores` is 0, or more than the network has nodes.
Result<std::vector<Stage>> Partition(Graph& graph, uint32_t cores);

// What a node costs, to balance pieces: multiply-accumulates, with an element that is read or
// written counted as 16, about what they take on a simulated core.
uint64_t CostOf(const Graph& graph, const Node& node);

}  // namespace nrtd::compiler
