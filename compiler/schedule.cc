// SPDX-License-Identifier: Apache-2.0
#include "compiler/schedule.h"

#include <algorithm>
#include <map>
#include <optional>

namespace nrtd::compiler {
namespace {

constexpr uint8_t kInputsArrived = 0;
constexpr uint8_t kOutputsGone = 1;
constexpr uint8_t kFirstPairSemaphore = 2;  // one for each pair of engines that meet: 6 at most

// The DMA of the inputs counts as a fourth party, which does one thing.
constexpr size_t kInputDma = sim::kEngines;
constexpr size_t kParties = sim::kEngines + 1;

// How many steps of each party are known to be over.
using Clock = std::array<size_t, kParties>;

// One thing that an engine does: an instruction, or sending an output.
struct Step {
  size_t engine = 0;
  size_t index = 0;  // among the engine's steps
  const TensorInstruction* instruction = nullptr;
  std::optional<size_t> output;  // index of the output that it sends
  std::vector<Access> accesses;
  std::vector<std::pair<size_t, size_t>> waits;  // party, index of its step
  std::vector<size_t> signals;                   // engines that wait for this step
  Clock after{};                                 // what is over once this step is
};

class Scheduler {
 public:
  Scheduler(const Graph& graph, const MemoryPlan& plan,
            const std::vector<TensorInstruction>& program)
      : graph_(graph), plan_(plan), program_(program) {}

  Result<Schedule> Make() {
    MakeSteps();
    FindWaits();
    StartInputs();
    for (const Step& step : steps_) Emit(step);
    NRTD_TRY(End());
    return std::move(schedule_);
  }

 private:
  Access DeviceAccess(ValueId id, bool write) const {
    const Placement place = plan_.ScratchOf(id);
    return {place.var_id, place.offset, place.offset + graph_.at(id).Bytes(), write};
  }

  void AddStep(Step step) {
    step.index = steps_of_[step.engine]++;
    steps_.push_back(std::move(step));
  }

  // Outputs directly behind the last instruction that writes them; those that are inputs, first.
  void MakeSteps() {
    std::vector<std::optional<size_t>> last_writer(graph_.outputs.size());
    std::vector<std::vector<Access>> accesses;
    for (size_t i = 0; i < program_.size(); ++i) {
      accesses.push_back(AccessesOf(program_[i].instruction));
      for (size_t o = 0; o < graph_.outputs.size(); ++o) {
        const Access read = DeviceAccess(graph_.outputs[o], false);
        if (std::any_of(accesses[i].begin(), accesses[i].end(),
                        [&](const Access& access) { return read.Conflicts(access); }))
          last_writer[o] = i;
      }
    }
    FindInputEngine(accesses);
    const auto send = [&](std::optional<size_t> writer, size_t engine) {
      for (size_t o = 0; o < graph_.outputs.size(); ++o) {
        if (last_writer[o] != writer) continue;
        AddStep({engine, 0, nullptr, o, {DeviceAccess(graph_.outputs[o], false)}, {}, {}, {}});
      }
    };
    send(std::nullopt, input_engine_);
    for (size_t i = 0; i < program_.size(); ++i) {
      const auto engine = static_cast<size_t>(program_[i].engine);
      AddStep({engine, 0, &program_[i], std::nullopt, std::move(accesses[i]), {}, {}, {}});
      send(i, engine);
    }
  }

  void FindInputEngine(const std::vector<std::vector<Access>>& accesses) {
    for (const auto& [id, variable] : plan_.input_variables)
      input_accesses_.push_back(DeviceAccess(id, true));
    for (size_t i = 0; i < program_.size(); ++i) {
      if (!TouchesInputs(accesses[i])) continue;
      input_engine_ = static_cast<size_t>(program_[i].engine);
      return;
    }
  }

  bool TouchesInputs(const std::vector<Access>& accesses) const {
    return std::any_of(accesses.begin(), accesses.end(), [&](const Access& access) {
      return std::any_of(input_accesses_.begin(), input_accesses_.end(),
                         [&](const Access& input) { return input.Conflicts(access); });
    });
  }

  // For every step the latest step of each other engine that it must not overtake, unless something
  // it waited for before has told it already.
  void FindWaits() {
    std::array<Clock, sim::kEngines> known{};
    for (size_t s = 0; s < steps_.size(); ++s) {
      Step& step = steps_[s];
      Clock& clock = known[step.engine];
      if (clock[kInputDma] == 0 && TouchesInputs(step.accesses)) {
        step.waits.emplace_back(kInputDma, 0);
        clock[kInputDma] = 1;
      }
      for (size_t party = 0; party < sim::kEngines; ++party) {
        if (party == step.engine) continue;
        Step* before = LatestConflict(s, party, clock[party]);
        if (before == nullptr) continue;
        step.waits.emplace_back(party, before->index);
        before->signals.push_back(step.engine);
        for (size_t p = 0; p < kParties; ++p) clock[p] = std::max(clock[p], before->after[p]);
      }
      clock[step.engine] = step.index + 1;
      step.after = clock;
    }
  }

  // Among the steps of `party` from `known` on and before steps_[s].
  Step* LatestConflict(size_t s, size_t party, size_t known) {
    for (size_t i = s; i-- > 0;) {
      Step& other = steps_[i];
      if (other.engine != party) continue;
      if (other.index < known) return nullptr;
      for (const Access& mine : steps_[s].accesses) {
        for (const Access& theirs : other.accesses) {
          if (mine.Conflicts(theirs)) return &other;
        }
      }
    }
    return nullptr;
  }

  template <typename Instruction>
  void Append(size_t engine, Instruction instruction) {
    schedule_.streams[engine].instructions.emplace_back(std::move(instruction));
  }

  void StartInputs() {
    for (size_t e = 0; e < sim::kEngines; ++e)
      schedule_.streams[e].engine = static_cast<sim::Engine>(e);
    constexpr uint32_t kInputsId = 0;
    for (ValueId id : graph_.inputs) {
      const auto variable = plan_.input_variables.find(id);
      if (variable == plan_.input_variables.end()) continue;
      const Placement to = plan_.ScratchOf(id);
      schedule_.transfers[input_engine_].push_back({kInputsId, true, variable->second, to.var_id,
                                                    to.offset, graph_.at(id).Bytes(),
                                                    kInputsArrived});
    }
    if (!plan_.input_variables.empty()) Append(input_engine_, sim::DmaTrigger{kInputsId});
  }

  // How often `from` has signalled `to`; made when they first meet.
  struct Pair {
    uint8_t semaphore = 0;
    uint32_t signals = 0;
    std::map<size_t, uint32_t> value_of;  // step of `from` -> count at its signal
  };
  Pair& PairOf(size_t from, size_t to) {
    const auto [pair, is_new] = pairs_.try_emplace({from, to});
    if (is_new)
      pair->second.semaphore = static_cast<uint8_t>(kFirstPairSemaphore + pairs_.size() - 1);
    return pair->second;
  }

  void Emit(const Step& step) {
    for (const auto& [party, index] : step.waits) {
      if (party == kInputDma) {
        Append(step.engine, sim::SemaphoreWait{kInputsArrived, static_cast<uint32_t>(
                                                                   plan_.input_variables.size())});
        continue;
      }
      const Pair& pair = PairOf(party, step.engine);
      Append(step.engine, sim::SemaphoreWait{pair.semaphore, pair.value_of.at(index)});
    }
    if (step.output) {
      Send(step.engine, *step.output);
    } else {
      const TensorInstruction& tensor = *step.instruction;
      auto& lookups = schedule_.lookups[step.engine];
      if (!tensor.lookup.empty() && lookups.size() < neff::kMaxLookups) {
        const size_t at = schedule_.streams[step.engine].instructions.size();
        lookups.push_back({static_cast<uint32_t>(at), tensor.origin, tensor.lookup});
      }
      Append(step.engine, tensor.instruction);
    }
    for (size_t to : step.signals) {
      Pair& pair = PairOf(step.engine, to);
      pair.value_of[step.index] = ++pair.signals;
      Append(step.engine, sim::SemaphoreSignal{pair.semaphore});
    }
  }

  void Send(size_t engine, size_t output) {
    const ValueId id = graph_.outputs[output];
    const Placement from = plan_.ScratchOf(id);
    const auto trigger = static_cast<uint32_t>(output + 1);  // 0 is the inputs'
    schedule_.transfers[engine].push_back({trigger, false, plan_.output_variables[output],
                                           from.var_id, from.offset, graph_.at(id).Bytes(),
                                           kOutputsGone});
    Append(engine, sim::DmaTrigger{trigger});
    last_sender_ = engine;
  }

  Result<void> End() {
    if (last_sender_) {
      Append(*last_sender_,
             sim::SemaphoreWait{kOutputsGone, static_cast<uint32_t>(graph_.outputs.size())});
    }
    for (sim::Stream& stream : schedule_.streams) {
      stream.instructions.emplace_back(sim::End{});
      if (stream.instructions.size() > sim::kMaxInstructions) {
        return Fail(Nerr::kResource, "engine {} would need {} instructions, a stream may have {}",
                    sim::EngineName(stream.engine), stream.instructions.size(),
                    sim::kMaxInstructions);
      }
    }
    schedule_.semaphores = kFirstPairSemaphore + static_cast<uint32_t>(pairs_.size());
    return {};
  }

  const Graph& graph_;
  const MemoryPlan& plan_;
  const std::vector<TensorInstruction>& program_;
  std::vector<Access> input_accesses_;
  size_t input_engine_ = static_cast<size_t>(sim::Engine::kPool);
  std::vector<Step> steps_;
  std::array<size_t, sim::kEngines> steps_of_{};
  std::map<std::pair<size_t, size_t>, Pair> pairs_;
  std::optional<size_t> last_sender_;
  Schedule schedule_;
};

}  // namespace

Result<Schedule> MakeSchedule(const Graph& graph, const MemoryPlan& plan,
                              const std::vector<TensorInstruction>& program) {
  return Scheduler(graph, plan, program).Make();
}

}  // namespace nrtd::compiler
