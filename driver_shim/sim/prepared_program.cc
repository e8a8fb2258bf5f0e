// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/prepared_program.h"

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
    kernels_.resolve = [this](const Operand& operand) {
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
    auto program = std::make_unique<PreparedProgram>();
    kernels_.scratch = &program->scratch;
    kernels_.team_scratch = &program->team_scratch;
    NRTD_TRY(PrepareTriggers(*program));
    ProgramPace pace;
    for (size_t e = 0; e < kEngines; ++e) {
      NRTD_ASSIGN(Stream stream, DecodeStream(image_.instructions[e]));
      if (stream.engine != static_cast<Engine>(e)) {
        return Fail(Nerr::kInvalid, "the instructions of engine {} are for engine {}",
                    EngineName(static_cast<Engine>(e)), EngineName(stream.engine));
      }
      NRTD_TRY(Validate(stream, context_, image_.stop));
      NRTD_TRY(CheckTriggerOrder(stream));
      pace.Add(stream);
      for (const Instruction& instruction : stream.instructions) {
        NRTD_TRY(CheckWanted(image_.stop));
        NRTD_ASSIGN(Step step, MakeStep(instruction, stream.engine, *program));
        program->streams[e].push_back(std::move(step));
      }
    }
    NRTD_TRY(PrepareOutputs(*program));
    program->pace_ns = pace.Ns(context_);
    for (const PlacedVariable& variable : image_.variables) {
      if (variable.sealed != nullptr && !read_.contains(variable.var_id))
        program->taken_over.push_back(variable.var_id);
    }
    return program;
  }

 private:
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
  // that order, each id once.
  Result<void> CheckTriggerOrder(const Stream& stream) {
    size_t at = 0;
    const auto next_binding = [&] {
      while (at < image_.triggers.size() &&
             static_cast<Engine>(image_.triggers[at].engine) != stream.engine)
        ++at;
      return at < image_.triggers.size() ? &image_.triggers[at++] : nullptr;
    };
    for (const Instruction& instruction : stream.instructions) {
      const auto* trigger = std::get_if<DmaTrigger>(&instruction);
      if (trigger == nullptr) continue;
      const TriggerBinding* binding = next_binding();
      if (binding == nullptr || binding->id != trigger->id) {
        return Fail(Nerr::kInvalid,
                    "engine {} triggers DMA id {} out of the order of its JSON, or twice",
                    EngineName(stream.engine), trigger->id);
      }
    }
    if (const TriggerBinding* left = next_binding()) {
      return Fail(Nerr::kInvalid, "engine {} never triggers DMA id {} of its JSON",
                  EngineName(stream.engine), left->id);
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
      step.trigger = triggers_[static_cast<size_t>(engine)].find(trigger->id)->second;
      program.descriptors[program.triggers[step.trigger].queue] +=
          program.triggers[step.trigger].descriptors;
    } else if (!std::holds_alternative<End>(instruction)) {
      step.macs = MacCount(instruction);
      NRTD_ASSIGN(step.kernel, MakeKernel(instruction, kernels_));
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
  std::set<uint32_t> read_;  // variables that executions read
};

}  // namespace

Result<std::unique_ptr<PreparedProgram>> PrepareProgram(const ProgramImage& image,
                                                        const AddressSpace& space,
                                                        WeightCache& weights, ThreadTeam& team) {
  // oneDNN plans for the number of threads that it sees now; a core's threads call it each for
  // themselves.
  UseOneThread();
  return Preparer(image, space, weights, team).Run();
}

}  // namespace nrtd::sim
