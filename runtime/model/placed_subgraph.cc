// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/placed_subgraph.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <set>
#include <string_view>

#include "base/printable.h"
#include "base/sizes.h"

namespace nrtd::runtime {
namespace {

// Whole pages for each variable, so that freed ones go back to the system and nothing of one
// network can be read by the next.
constexpr uint64_t kDramPage = 4 * kKiB;

// Smaller weights are copied, which costs little; they need not begin with a page in a NEFF.
constexpr uint64_t kLeastMapped = neff::kAlignedFrom;

bool LivesInDram(neff::VariableType type) {
  return type == neff::VariableType::kFile || type == neff::VariableType::kTmpBuf;
}

bool LivesInSlot(neff::VariableType type) {
  return type == neff::VariableType::kInput || type == neff::VariableType::kOutput;
}

// The float32 outputs of the network are looked at for NaN; what feeds them is what the core
// checks.
std::vector<uint32_t> CheckedVariables(const neff::Subgraph& subgraph, const TensorLayout& layout) {
  std::vector<uint32_t> ids;
  std::set<std::string_view> floats;
  for (const TensorPort& port : layout.outputs)
    if (port.dtype == DType::kFloat32) floats.insert(port.name);
  for (const neff::EngineProgram& engine : subgraph.engines) {
    for (const neff::DmaTrigger& trigger : engine.dma) {
      const neff::Variable& from = subgraph.variables[trigger.desc.from.variable];
      const neff::Variable& to = subgraph.variables[trigger.desc.to.variable];
      // A variable that holds more than this output may hold other types too: only whole ones are
      // looked at.
      const bool whole = from.size && trigger.desc.from.offset == 0 &&
                         trigger.desc.from.sizes.size() == 1 &&
                         trigger.desc.from.sizes[0] == *from.size;
      if (to.type == neff::VariableType::kOutput && LivesInDram(from.type) && whole &&
          floats.contains(to.name)) {
        ids.push_back(from.var_id);
      }
    }
  }
  return ids;
}

// Says which node looks values up, and in which tensor it finds the indices.
ProgramRings::NameInstruction NamesOf(const neff::Subgraph& subgraph) {
  std::map<std::pair<uint32_t, uint32_t>, std::string> names;
  for (const neff::EngineProgram& engine : subgraph.engines) {
    const auto number =
        std::find(std::begin(kCoreEngineNames), std::end(kCoreEngineNames), engine.engine);
    for (const neff::Lookup& lookup : engine.lookups) {
      names.emplace(
          std::pair(static_cast<uint32_t>(number - std::begin(kCoreEngineNames)),
                    lookup.instruction),
          fmt::format("{}, indices '{}'", Printable(lookup.node), Printable(lookup.tensor)));
    }
  }
  if (names.empty()) return {};
  return [names = std::move(names)](uint32_t engine, uint32_t instruction) {
    const auto found = names.find({engine, instruction});
    return found != names.end() ? found->second : std::string();
  };
}

}  // namespace

Result<std::unique_ptr<PlacedSubgraph>> PlacedSubgraph::Place(const neff::Neff& neff,
                                                              const neff::Subgraph& subgraph,
                                                              const TensorLayout& layout,
                                                              const Options& options,
                                                              Machine& machine) {
  std::unique_ptr<PlacedSubgraph> placed(new PlacedSubgraph(options, machine));
  NRTD_TRY(placed->PlaceVariables(neff, subgraph));
  NRTD_TRY(placed->PlanAndLoad(subgraph, layout, machine.prepared_budget()));
  return placed;
}

PlacedSubgraph::~PlacedSubgraph() {
  if (program_id_ != 0) channel_.core().UnloadProgram(program_id_);
  for (const memory::DramBlock& block : blocks_)
    unit_.device->DiscardDram(block.address(), block.size());
}

Result<void> PlacedSubgraph::PlaceVariables(const neff::Neff& neff,
                                            const neff::Subgraph& subgraph) {
  for (const neff::Variable& variable : subgraph.variables) {
    NRTD_TRY(CheckWanted(options_.stop));
    PlacedVariable placed;
    placed.var_id = variable.var_id;
    placed.size = variable.size.value_or(0);
    if (LivesInDram(variable.type)) {
      NRTD_ASSIGN(placed.address, Allocate(variable, subgraph.name));
      placed.in_dram = true;
      placed.writable = variable.type == neff::VariableType::kTmpBuf;
      if (variable.type == neff::VariableType::kFile) {
        NRTD_TRY(WriteWeights(neff, variable, placed));
      }
    } else if (!LivesInSlot(variable.type) && variable.type != neff::VariableType::kStateBuffer) {
      return Fail(Nerr::kInvalid,
                  "{}: variable '{}' is of type {}, which a program of {} cannot have; compile the "
                  "network with neuron-cc",
                  subgraph.name, variable.name,
                  variable.type_name.empty() ? std::string(VariableTypeName(variable.type))
                                             : variable.type_name,
                  "the simulated Inferentia");
    }
    variables_.push_back(placed);
  }
  return {};
}

Result<void> PlacedSubgraph::WriteWeights(const neff::Neff& neff, const neff::Variable& variable,
                                          PlacedVariable& placed) {
  if (const auto offset = neff.SharedOffset(variable)) {
    Weights& weights =
        weights_.emplace(placed.var_id, Weights{*offset, variable.data.size(), false})
            .first->second;
    // The variable may be larger than what is put into it.
    if (placed.size == variable.data.size()) {
      placed.sealed = &neff.sealed_weights();
      placed.sealed_offset = *offset;
      weights.taken_over =
          placed.size >= kLeastMapped && unit_.device->MapDram(placed.address, variable.data);
    }
    // Others are copied, again by whoever loads them next.
    if (weights.taken_over) return {};
  }
  return unit_.copier->Write(placed.address, variable.data, options_.stop);
}

Result<BusAddress> PlacedSubgraph::Allocate(const neff::Variable& variable,
                                            const std::string& subgraph) {
  const uint64_t size = AlignUp(std::max<uint64_t>(*variable.size, 1), kDramPage);
  const uint64_t alignment = std::max(variable.alignment, kDramPage);
  // The emptier channel first, so that both fill evenly; the other one if that has no room.
  const uint32_t first = unit_.used_bytes(0) <= unit_.used_bytes(1) ? 0 : 1;
  const std::string what = fmt::format("variable '{}' of {}", variable.name, subgraph);
  auto block = unit_.channels[first].Allocate(size, alignment, what);
  if (!block && block.error().code == Nerr::kResource)
    block = unit_.channels[1 - first].Allocate(size, alignment, what);
  if (!block) return tl::unexpected<Error>(std::move(block.error()));
  blocks_.push_back(std::move(*block));
  return blocks_.back().address();
}

Result<void> PlacedSubgraph::PlanAndLoad(const neff::Subgraph& subgraph, const TensorLayout& layout,
                                         PreparedBudget& budget) {
  const LocateVariable locate = [&](const neff::Variable& variable) -> Result<TransferEnd> {
    if (LivesInSlot(variable.type)) {
      NRTD_ASSIGN(const NodeTensor* tensor, layout.Find(options_.node, variable.name));
      return TransferEnd{true, tensor->slot_offset};
    }
    const PlacedVariable& placed =
        variables_[static_cast<size_t>(&variable - subgraph.variables.data())];
    if (placed.in_dram) return TransferEnd{false, placed.address};
    return Fail(Nerr::kInvalid, "{}: DMA cannot reach variable '{}' of type {}", subgraph.name,
                variable.name, VariableTypeName(variable.type));
  };
  NRTD_ASSIGN(transfers_, PlanTransfers(subgraph, locate, options_.stop));
  for (const neff::EngineProgram& engine : subgraph.engines) {
    for (const neff::DmaTrigger& trigger : engine.dma) {
      const auto read = weights_.find(subgraph.variables[trigger.desc.from.variable].var_id);
      if (read != weights_.end()) read->second.taken_over = false;
    }
  }

  ProgramImage image;
  for (size_t e = 0; e < kCoreEngines; ++e) {
    const neff::EngineProgram* engine = subgraph.FindEngine(kCoreEngineNames[e]);
    if (engine == nullptr)
      return Fail(Nerr::kInvalid, "{} has no engine '{}': compile the network again with neuron-cc",
                  subgraph.name, kCoreEngineNames[e]);
    image.instructions[e] = engine->instructions.bytes();
  }
  image.variables = variables_;
  image.triggers = transfers_.triggers;
  image.output_var_ids = CheckedVariables(subgraph, layout);
  image.stop = options_.stop;
  image.budget = &budget;
  auto loaded = channel_.core().LoadProgram(image);
  if (!loaded) return tl::unexpected<Error>(std::move(loaded.error()).In(subgraph.name));
  program_id_ = *loaded;
  program_ = std::make_unique<ProgramRings>(program_id_, NamesOf(subgraph));
  return {};
}

Result<void> PlacedSubgraph::Start(uint32_t ninfer) {
  std::vector<uint32_t> capacities;
  for (const auto& queue : transfers_.queues) {
    capacities.push_back(
        static_cast<uint32_t>(std::bit_ceil(std::max<uint64_t>(queue.size() * ninfer, 1))));
  }
  return channel_.Start(*program_, capacities);
}

void PlacedSubgraph::Stop() {
  channel_.Stop(*program_);
}

std::vector<PlacedSubgraph::Weights> PlacedSubgraph::weights() const {
  const std::vector<uint32_t> ids = channel_.core().TakenOver(program_id_);
  const std::set<uint32_t> by_core(ids.begin(), ids.end());
  std::vector<Weights> all;
  for (const auto& [var_id, weights] : weights_) {
    all.push_back(weights);
    all.back().taken_over &= by_core.contains(var_id);
  }
  return all;
}

uint64_t PlacedSubgraph::dram_bytes() const {
  uint64_t sum = 0;
  for (const memory::DramBlock& block : blocks_) sum += block.size();
  return sum;
}

}  // namespace nrtd::runtime
