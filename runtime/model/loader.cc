// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/loader.h"

#include <algorithm>

#include "memory/hugepage_pool.h"

namespace nrtd::runtime {
namespace {

Result<void> CheckNodes(const neff::Graph& graph) {
  for (const neff::Node& node : graph.nodes) {
    if (node.kind == neff::NodeKind::kHostFunction) {
      return Fail(
          Nerr::kFail,
          "node '{}' runs function '{}' on the host CPU, which this version does not execute",
          node.name, node.func_name);
    }
  }
  for (const neff::Node& node : graph.nodes) {
    if (node.is_param && graph.IsUsed(node.outputs.front())) {
      return Fail(
          Nerr::kFail,
          "node '{}' is a parameter of the graph, which this version does not load: make it "
          "a file variable",
          node.name);
    }
  }
  return {};
}

Result<std::vector<std::unique_ptr<scheduler::Slot>>> MakeSlots(const Network::Parts& parts,
                                                                uint32_t ninfer,
                                                                memory::HugePagePool& pool) {
  std::vector<std::unique_ptr<scheduler::Slot>> slots;
  const uint64_t bytes = std::max<uint64_t>(parts.layout.slot_bytes, 1);
  // Larger than a page: start at one, so that the page boundaries fall at the same offsets in every
  // slot.
  const uint64_t alignment = bytes > memory::kHugePageSize ? memory::kHugePageSize : 64;
  for (uint32_t i = 0; i < ninfer; ++i) {
    NRTD_ASSIGN(memory::DmaBuffer buffer, pool.Allocate(bytes, alignment));
    // It holds what another network, perhaps another client's, left there.
    std::fill(buffer.bytes().begin(), buffer.bytes().end(), std::byte{0});
    std::vector<scheduler::StagePlan> plans;
    for (const auto& stage : parts.stages) {
      plans.push_back({&stage->channel(), BindToSlot(stage->transfers(), buffer)});
    }
    slots.push_back(std::make_unique<scheduler::Slot>(std::move(buffer), std::move(plans)));
  }
  return slots;
}

}  // namespace

Result<Network::Parts> PlaceNetwork(const neff::Neff& neff, const scheduler::CoreRun& cores,
                                    uint32_t ninfer, Machine& machine) {
  NRTD_TRY(CheckNodes(neff.graph()));
  if (neff.CoresRequired() > cores.count) {
    return Fail(Nerr::kResourceNc, "Insufficient number of VNCs: {}, required: {}", cores.count,
                neff.CoresRequired());
  }
  Network::Parts parts;
  NRTD_ASSIGN(parts.layout, LayOutTensors(neff));
  uint32_t core = cores.first;
  for (uint32_t n = 0; n < neff.graph().nodes.size(); ++n) {
    const neff::Node& node = neff.graph().nodes[n];
    if (node.kind != neff::NodeKind::kKelf) continue;
    const auto& subgraphs = neff.kelf(node).subgraphs;
    for (uint32_t s = 0; s < subgraphs.size(); ++s) {
      NRTD_ASSIGN(auto stage,
                  PlacedSubgraph::Place(subgraphs[s], parts.layout, {n, s, core++}, machine));
      parts.stages.push_back(std::move(stage));
    }
  }
  if (parts.stages.empty())
    return Fail(Nerr::kInvalid, "the model has no node that runs on a NeuronCore");
  NRTD_ASSIGN(parts.slots, MakeSlots(parts, ninfer, machine.pool()));
  return parts;
}

}  // namespace nrtd::runtime
