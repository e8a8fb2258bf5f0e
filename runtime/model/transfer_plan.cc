// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/transfer_plan.h"

#include <algorithm>
#include <map>
#include <string>
#include <unordered_map>

#include "base/wanted.h"
#include "memory/hugepage_pool.h"
#include "runtime/model/limits.h"

namespace nrtd::runtime {
namespace {

using neff::AccessPattern;

// Walks a strided pattern run by run: contiguous bytes, innermost dimension first.
class RunCursor {
 public:
  explicit RunCursor(const AccessPattern& pattern)
      : pattern_(pattern), index_(pattern.sizes.size(), 0) {
    // Only a first dimension of step 1 is contiguous; otherwise every byte is a run of its own.
    contiguous_ = pattern.steps[0] == 1 || pattern.sizes[0] == 1;
  }

  bool done() const { return done_; }
  uint64_t at() const {
    int64_t offset = static_cast<int64_t>(pattern_.offset + taken_);
    for (size_t d = 0; d < index_.size(); ++d)
      offset += static_cast<int64_t>(index_[d]) * pattern_.steps[d];
    return static_cast<uint64_t>(offset);
  }
  uint64_t left() const { return (contiguous_ ? pattern_.sizes[0] : 1) - taken_; }
  void Advance(uint64_t bytes) {
    taken_ += bytes;
    if (left() > 0) return;
    taken_ = 0;
    size_t d = contiguous_ ? 1 : 0;
    while (d < index_.size() && ++index_[d] == pattern_.sizes[d]) index_[d++] = 0;
    done_ = d == index_.size();
  }

 private:
  const AccessPattern& pattern_;
  std::vector<uint64_t> index_;
  uint64_t taken_ = 0;
  bool contiguous_ = true;
  bool done_ = false;
};

// Bytes from `end` on that are contiguous for the device: a slot's memory is so inside each huge
// page only.
uint64_t ContiguousBytes(const TransferEnd& end) {
  return end.in_slot ? memory::kHugePageSize - end.at % memory::kHugePageSize : UINT32_MAX;
}

class Planner {
 public:
  Planner(const neff::Subgraph& subgraph, const LocateVariable& locate, const std::stop_token& stop)
      : subgraph_(subgraph), locate_(locate), stop_(stop), ends_(subgraph.variables.size()) {}

  Result<TransferPlan> Run() {
    for (const neff::EngineProgram& engine : subgraph_.engines) {
      const auto* name =
          std::find(std::begin(kCoreEngineNames), std::end(kCoreEngineNames), engine.engine);
      if (name == std::end(kCoreEngineNames)) {
        return Fail(Nerr::kUnsupportedVersion,
                    "{} uses engine '{}', which a NeuronCore of Inferentia 1 does not have",
                    subgraph_.name, engine.engine);
      }
      NRTD_TRY(AddEngine(engine, static_cast<CoreEngine>(name - std::begin(kCoreEngineNames))));
    }
    return std::move(plan_);
  }

 private:
  Result<void> AddEngine(const neff::EngineProgram& program, CoreEngine engine) {
    std::unordered_map<uint32_t, size_t> places;  // of ids in plan_.triggers
    for (const neff::DmaTrigger& trigger : program.dma) {
      NRTD_TRY(CheckWanted(stop_));
      const uint32_t queue = QueueNumber(trigger.queue);
      const auto [place, is_new] = places.emplace(trigger.id, plan_.triggers.size());
      if (is_new) plan_.triggers.push_back({engine, trigger.id, queue, 0});
      TriggerBinding* const binding = &plan_.triggers[place->second];
      if (binding != &plan_.triggers.back() || binding->queue != queue) {
        return Fail(Nerr::kInvalid,
                    "{}: the descriptors of DMA id {} of engine {} are not together on one queue",
                    subgraph_.name, trigger.id, program.engine);
      }
      NRTD_ASSIGN(const uint32_t pieces, AddDescriptor(trigger, plan_.queues[queue]));
      binding->descriptors += pieces;
    }
    return {};
  }

  uint32_t QueueNumber(const std::string& name) {
    const auto [place, is_new] = numbers_.emplace(name, static_cast<uint32_t>(plan_.queues.size()));
    if (is_new) plan_.queues.emplace_back();
    return place->second;
  }

  Result<TransferEnd> EndAt(uint32_t variable) {
    std::optional<TransferEnd>& end = ends_[variable];
    if (!end) {
      NRTD_ASSIGN(end, locate_(subgraph_.variables[variable]));
    }
    return *end;
  }

  Result<uint32_t> AddDescriptor(const neff::DmaTrigger& trigger, std::vector<Transfer>& queue) {
    const neff::Variable& target_variable = subgraph_.variables[trigger.desc.to.variable];
    if (target_variable.type == neff::VariableType::kFile) {
      return Fail(Nerr::kInvalid,
                  "{}: DMA queue '{}' writes variable '{}', a file: those are written once, when "
                  "the network loads",
                  subgraph_.name, trigger.queue, target_variable.name);
    }
    NRTD_ASSIGN(const TransferEnd from, EndAt(trigger.desc.from.variable));
    NRTD_ASSIGN(const TransferEnd to, EndAt(trigger.desc.to.variable));
    RunCursor source(trigger.desc.from);
    RunCursor target(trigger.desc.to);
    uint32_t pieces = 0;
    while (!source.done()) {
      Transfer piece;
      piece.from = {from.in_slot, from.at + source.at()};
      piece.to = {to.in_slot, to.at + target.at()};
      const uint64_t length = std::min({source.left(), target.left(), ContiguousBytes(piece.from),
                                        ContiguousBytes(piece.to), uint64_t{1} << 30});
      piece.length = static_cast<uint32_t>(length);
      if (queue.size() == kMaxTransfers) {
        return Fail(Nerr::kInvalid, "{}: DMA queue '{}' needs more than {} transfers an inference",
                    subgraph_.name, trigger.queue, kMaxTransfers);
      }
      queue.push_back(piece);
      ++pieces;
      source.Advance(length);
      target.Advance(length);
    }
    queue.back().semaphore = static_cast<uint8_t>(trigger.semaphore.value_or(kNoSemaphore));
    return pieces;
  }

  const neff::Subgraph& subgraph_;
  const LocateVariable& locate_;
  const std::stop_token& stop_;
  std::vector<std::optional<TransferEnd>> ends_;  // of variables that were asked for
  std::map<std::string, uint32_t> numbers_;
  TransferPlan plan_;
};

}  // namespace

Result<TransferPlan> PlanTransfers(const neff::Subgraph& subgraph, const LocateVariable& locate,
                                   const std::stop_token& stop) {
  return Planner(subgraph, locate, stop).Run();
}

std::vector<scheduler::CorePlan::Queue> BindToSlot(const TransferPlan& plan,
                                                   const memory::DmaBuffer& memory) {
  const auto address = [&](const TransferEnd& end) {
    return end.in_slot ? memory.BusAddress(end.at) : end.at;
  };
  std::vector<scheduler::CorePlan::Queue> bound;
  for (uint32_t q = 0; q < plan.queues.size(); ++q) {
    auto& queue = bound.emplace_back();
    queue.queue = q;
    for (const Transfer& transfer : plan.queues[q]) {
      Descriptor descriptor;
      descriptor.source = address(transfer.from);
      descriptor.destination = address(transfer.to);
      descriptor.length = transfer.length;
      descriptor.semaphore = transfer.semaphore;
      queue.descriptors.push_back(descriptor);
    }
  }
  return bound;
}

}  // namespace nrtd::runtime
