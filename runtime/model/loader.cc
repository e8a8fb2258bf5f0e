// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/loader.h"

#include <algorithm>
#include <map>

#include "memory/hugepage_pool.h"

namespace nrtd::runtime {
namespace {

Result<void> CheckParameters(const neff::Graph& graph) {
  for (const neff::Node& node : graph.nodes) {
    if (node.is_param && graph.IsUsed(node.outputs.front())) {
      return Fail(
          Nerr::kFail,
          "node '{}' is a parameter of the graph, which this version does not load: make it "
          "a file variable, as 'neuron-cc compile' does",
          node.name);
    }
  }
  return {};
}

scheduler::StagePlan PlanFor(const Network::Parts& parts, const Network::StageRef& stage,
                             const memory::DmaBuffer& memory, Machine& machine) {
  scheduler::StagePlan plan;
  if (stage.on_host) {
    plan.pool = &machine.host_pool();
    plan.host = parts.host_nodes[stage.index]->BindTo(memory.bytes());
  } else {
    const PlacedSubgraph& placed = *parts.stages[stage.index];
    plan.core = {&placed.channel(), &placed.program(), BindToSlot(placed.transfers(), memory)};
  }
  return plan;
}

Result<std::vector<std::unique_ptr<scheduler::Slot>>> MakeSlots(const Network::Parts& parts,
                                                                uint32_t ninfer, Machine& machine,
                                                                const std::stop_token& stop) {
  std::vector<std::unique_ptr<scheduler::Slot>> slots;
  const uint64_t bytes = std::max<uint64_t>(parts.layout.slot_bytes, 1);
  // Larger than a page: start at one, so that the page boundaries fall at the same offsets in every
  // slot.
  const uint64_t alignment = bytes > memory::kHugePageSize ? memory::kHugePageSize : 64;
  for (uint32_t i = 0; i < ninfer; ++i) {
    NRTD_TRY(CheckWanted(stop));
    NRTD_ASSIGN(memory::DmaBuffer buffer, machine.pool().Allocate(bytes, alignment));
    // It holds what another network, perhaps another client's, left there.
    std::fill(buffer.bytes().begin(), buffer.bytes().end(), std::byte{0});
    std::vector<scheduler::StagePlan> plans;
    for (const Network::StageRef& stage : parts.order)
      plans.push_back(PlanFor(parts, stage, buffer, machine));
    slots.push_back(std::make_unique<scheduler::Slot>(std::move(buffer), std::move(plans)));
  }
  return slots;
}

// Weights that the cores have taken over in another form need not be in memory twice. Variables may
// have the same weights, of which some are read where they are.
Result<void> ReleaseWeights(const neff::Neff& neff,
                            const std::vector<std::unique_ptr<PlacedSubgraph>>& stages,
                            const std::stop_token& stop) {
  std::map<uint64_t, PlacedSubgraph::Weights> parts;  // by offset; parts do not overlap
  for (const auto& stage : stages) {
    for (const PlacedSubgraph::Weights& weights : stage->weights()) {
      auto& part = parts.try_emplace(weights.offset, weights).first->second;
      part.taken_over = part.taken_over && weights.taken_over;
    }
  }
  for (const auto& [offset, part] : parts) {
    NRTD_TRY(CheckWanted(stop));
    if (part.taken_over) neff.sealed_weights().Release(offset, part.size);
  }
  return {};
}

}  // namespace

Result<Network::Parts> PlaceNetwork(std::shared_ptr<const neff::Neff> shared,
                                    const scheduler::CoreRun& cores, uint32_t ninfer,
                                    Machine& machine, const std::stop_token& stop) {
  const neff::Neff& neff = *shared;
  NRTD_TRY(CheckParameters(neff.graph()));
  if (neff.LargestNodeCores() > cores.count) {
    return Fail(
        Nerr::kResourceNc,
        "Insufficient number of VNCs: {}, required: {}; create a group of as many NeuronCores, "
        "or compile with a smaller --neuroncore-pipeline-cores",
        cores.count, neff.LargestNodeCores());
  }
  Network::Parts parts;
  parts.neff = std::move(shared);
  NRTD_ASSIGN(parts.layout, LayOutTensors(neff, stop));
  uint32_t core = cores.first;
  for (uint32_t n = 0; n < neff.graph().nodes.size(); ++n) {
    const neff::Node& node = neff.graph().nodes[n];
    if (node.kind == neff::NodeKind::kHostFunction) {
      NRTD_ASSIGN(auto host, HostNode::Create(neff.graph(), n, parts.layout));
      parts.order.push_back({.on_host = true, .index = parts.host_nodes.size()});
      parts.host_nodes.push_back(std::move(host));
      continue;
    }
    if (node.kind != neff::NodeKind::kKelf) continue;
    const auto& subgraphs = neff.kelf(node).subgraphs;
    if (core + subgraphs.size() > cores.first + cores.count) core = cores.first;
    for (uint32_t s = 0; s < subgraphs.size(); ++s) {
      NRTD_ASSIGN(auto stage, PlacedSubgraph::Place(neff, subgraphs[s], parts.layout,
                                                    {n, s, core++, stop}, machine));
      parts.order.push_back({.on_host = false, .index = parts.stages.size()});
      parts.stages.push_back(std::move(stage));
    }
  }
  if (parts.order.empty())
    return Fail(
        Nerr::kInvalid,
        "the model has no node that runs anywhere: compile a network with at least one operator");
  NRTD_TRY(ReleaseWeights(neff, parts.stages, stop));
  NRTD_ASSIGN(parts.slots, MakeSlots(parts, ninfer, machine, stop));
  return parts;
}

}  // namespace nrtd::runtime
