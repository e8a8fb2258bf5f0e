// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/prepared_program.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <unordered_map>

#include "base/wanted.h"
#include "driver_shim/sim/kernels/make_kernel.h"
#include "driver_shim/sim/pace.h"

namespace nrtd::sim {
namespace {

static_assert(kEngines == kCoreEngines);

class Preparer {
 public:
  Preparer(const ProgramImage& image, const AddressSpace& space, WeightCache& weights,
           ThreadTeam& team)
      : image_(image), space_(space) {
    variables_.reserve(image.variables.size());
    for (const PlacedVariable& variable : image.variables)
      variables_.emplace(variable.var_id, &variable);
    kernels_.resolve_now = [this](const Operand& operand) {
      return space_.TranslateDram(Find(operand.var_id)->address + operand.offset, 1, Use::kRead);
    };
    kernels_.resolve = [this](const Operand& operand) -> Address {
      read_.insert(operand.var_id);
      return kernels_.resolve_now(operand);
    };
    kernels_.constant = [this](uint32_t var_id) { return !Find(var_id)->writable; };
    kernels_.sealed_part = [this](uint32_t var_id) {
      const PlacedVariable& variable = *Find(var_id);
      return KernelContext::SealedPart{variable.sealed, variable.sealed_offset};
    };
    kernels_.weights = &weights;
    kernels_.team = &team;
    kernels_.stop = image.stop;
  }

  Result<std::unique_ptr<PreparedProgram>> Run() {
    NRTD_TRY(CheckPlacement());
    auto program = std::make_unique<PreparedProgram>(image_.budget);
    kernels_.scratch = &program->scratch;
    kernels_.team_scratch = &program->team_scratch;
    program->kernels = std::make_unique<KernelSet>(kernels_, &program->bases, &program->charge);
    NRTD_TRY(program->charge.Take(image_.triggers.size() * sizeof(PreparedTrigger)));
    NRTD_TRY(PrepareTriggers(*program));
    for (size_t e = 0; e < kEngines; ++e) NRTD_TRY(PrepareStream(e, *program));
    program->kernels->Close();
    NRTD_TRY(PrepareOutputs(*program));
    program->pace_ns = pace_.Ns(context_);
    for (const PlacedVariable& variable : image_.variables) {
      if (variable.sealed != nullptr && !read_.contains(variable.var_id))
        program->taken_over.push_back(variable.var_id);
    }
    return program;
  }

 private:
  Result<void> PrepareStream(size_t e, PreparedProgram& program) {
    NRTD_ASSIGN(StreamReader reader, StreamReader::Open(image_.instructions[e]));
    const auto engine = static_cast<Engine>(e);
    if (reader.engine() != engine) {
      return Fail(Nerr::kInvalid, "the instructions of engine {} are for engine {}",
                  EngineName(engine), EngineName(reader.engine()));
    }
    // An instruction has 8 bytes at least: a short stream cannot announce many.
    const uint64_t most = std::min<uint64_t>(reader.count(), image_.instructions[e].size() / 8);
    NRTD_TRY(program.charge.Take(most * sizeof(Step)));
    program.streams[e].reserve(most);
    Validator validator(context_, engine);
    size_t next_trigger = 0;
    while (!reader.done()) {
      NRTD_TRY(CheckWanted(image_.stop));
      NRTD_ASSIGN(const Instruction instruction, reader.Next());
      NRTD_TRY(validator.Check(instruction, program.streams[e].size()));
      NRTD_TRY(CheckTriggerOrder(engine, instruction, next_trigger));
      pace_.Add(engine, instruction);
      NRTD_ASSIGN(Step step, MakeStep(instruction, engine, program));
      program.streams[e].push_back(step);
    }
    return {};
  }

  const PlacedVariable* Find(uint32_t var_id) const {
    const auto found = variables_.find(var_id);
    return found != variables_.end() ? found->second : nullptr;
  }

  Result<void> CheckPlacement() {
    for (const PlacedVariable& variable : image_.variables) {
      if (variable.in_dram &&
          space_.TranslateDram(variable.address, variable.size,
                               variable.writable ? Use::kWrite : Use::kRead) == nullptr) {
        return Fail(Nerr::kInvalid, "variable {} of {} bytes at {:#x} is not in device DRAM",
                    variable.var_id, variable.size, variable.address);
      }
      context_.variables.push_back({variable.var_id, variable.size, variable.in_dram,
                                    variable.in_dram && variable.writable});
    }
    return {};
  }

  Result<void> PrepareTriggers(PreparedProgram& program) {
    std::map<uint32_t, CoreEngine> owners;
    for (const TriggerBinding& binding : image_.triggers) {
      NRTD_TRY(CheckWanted(image_.stop));
      if (owners.emplace(binding.queue, binding.engine).first->second != binding.engine) {
        return Fail(Nerr::kInvalid, "two engines trigger DMA queue {}", binding.queue);
      }
      if (binding.queue >= kDmaQueues) {
        return Fail(Nerr::kInvalid, "DMA id {} names queue {}, a core has {}", binding.id,
                    binding.queue, kDmaQueues);
      }
      context_.dma_ids[static_cast<size_t>(binding.engine)].push_back(binding.id);
      triggers_[static_cast<size_t>(binding.engine)][binding.id] =
          static_cast<uint32_t>(program.triggers.size());
      program.triggers.push_back({binding.queue, binding.descriptors});
      if (binding.queue >= program.descriptors.size())
        program.descriptors.resize(binding.queue + 1);
    }
    return {};
  }

  // The driver fills each queue in the order of the engine's JSON, so the stream must release in
  // that order, each id once. `next` counts the bindings that were passed.
  Result<void> CheckTriggerOrder(Engine engine, const Instruction& instruction, size_t& next) {
    const auto* trigger = std::get_if<DmaTrigger>(&instruction);
    if (trigger == nullptr && !std::holds_alternative<End>(instruction)) return {};
    const auto& triggers = image_.triggers;
    while (next < triggers.size() && static_cast<Engine>(triggers[next].engine) != engine) ++next;
    const TriggerBinding* binding = next < triggers.size() ? &triggers[next++] : nullptr;
    if (trigger != nullptr && (binding == nullptr || binding->id != trigger->id)) {
      return Fail(Nerr::kInvalid,
                  "engine {} triggers DMA id {} out of the order of its JSON, or twice",
                  EngineName(engine), trigger->id);
    }
    if (trigger == nullptr && binding != nullptr) {
      return Fail(Nerr::kInvalid, "engine {} never triggers DMA id {} of its JSON",
                  EngineName(engine), binding->id);
    }
    return {};
  }

  Result<void> PrepareOutputs(PreparedProgram& program) {
    for (uint32_t var_id : image_.output_var_ids) {
      const PlacedVariable* variable = Find(var_id);
      if (variable == nullptr || !variable->in_dram || variable->address % sizeof(float) != 0) {
        return Fail(Nerr::kInvalid, "output variable {} is not an aligned variable in device DRAM",
                    var_id);
      }
      program.outputs.push_back({reinterpret_cast<const float*>(space_.TranslateDram(
                                     variable->address, variable->size, Use::kRead)),
                                 variable->size / sizeof(float)});
    }
    return {};
  }

  Result<Step> MakeStep(const Instruction& instruction, Engine engine, PreparedProgram& program) {
    Step step;
    step.opcode = OpcodeOf(instruction);
    if (const auto* wait = std::get_if<SemaphoreWait>(&instruction)) {
      step.semaphore = wait->semaphore;
      step.value = wait->value;
    } else if (const auto* signal = std::get_if<SemaphoreSignal>(&instruction)) {
      step.semaphore = signal->semaphore;
    } else if (const auto* notify = std::get_if<Notify>(&instruction)) {
      step.value = notify->value;
    } else if (const auto* trigger = std::get_if<DmaTrigger>(&instruction)) {
      // One id may stand for descriptors on several queues; each trigger instruction releases one
      // binding only, so an id is unique on its engine.
      step.value = triggers_[static_cast<size_t>(engine)].find(trigger->id)->second;
      program.descriptors[program.triggers[step.value].queue] +=
          program.triggers[step.value].descriptors;
    } else if (!std::holds_alternative<End>(instruction)) {
      step.macs = MacCount(instruction);
      auto prepared = program.kernels->Get(instruction);
      if (!prepared) {
        return tl::unexpected<Error>(
            std::move(prepared.error())
                .In(fmt::format("{} instruction {}", EngineName(engine),
                                program.streams[static_cast<size_t>(engine)].size())));
      }
      step.kernel = prepared->kernel;
      step.bases = prepared->bases;
    }
    return step;
  }

  const ProgramImage& image_;
  const AddressSpace& space_;
  std::unordered_map<uint32_t, const PlacedVariable*> variables_;  // by var_id
  std::array<std::unordered_map<uint32_t, uint32_t>, kEngines>
      triggers_;  // an id's place in the program's triggers
  ProgramContext context_;
  KernelContext kernels_;
  ProgramPace pace_;
  std::set<uint32_t> read_;  // variables that executions read
};

}  // namespace

uint64_t PreparedProgram::bytes() const {
  uint64_t bytes = charge.bytes() + scratch.size();
  for (const Scratch& own : team_scratch) bytes += own.size();
  return bytes;
}

Result<std::unique_ptr<PreparedProgram>> PrepareProgram(const ProgramImage& image,
                                                        const AddressSpace& space,
                                                        WeightCache& weights, ThreadTeam& team) {
  PrepareLibrary();
  // oneDNN plans for the number of threads that it sees now; a core's threads call it each for
  // themselves.
  UseOneThread();
  return Preparer(image, space, weights, team).Run();
}

}  // namespace nrtd::sim
