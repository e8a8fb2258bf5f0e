// SPDX-License-Identifier: Apache-2.0
//
// Schedules are run without arithmetic: the engines take turns in random orders, semaphores count,
// DMA ends late. Whatever the order, nothing may be read before it is written or overwritten before
// it is read, and all must end.
#include "compiler/schedule.h"

#include <algorithm>
#include <map>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "compiler/emit.h"
#include "compiler/onnx_import.h"
#include "compiler/passes/passes.h"
#include "test/compiler/cases.h"

namespace nrtd::compiler {
namespace {

struct Scheduled {
  explicit Scheduled(Graph g) : graph(std::move(g)), plan(PlanMemory(graph)) {
    program = Must(LowerGraph(graph, plan));
    schedule = Must(MakeSchedule(graph, plan, program));
  }

  Graph graph;
  MemoryPlan plan;
  std::vector<TensorInstruction> program;
  Schedule schedule;
};

// What happened to device memory, in the order in which it happened.
struct Event {
  std::vector<Access> accesses;
  size_t place = 0;  // in the order of the program: inputs, instructions, outputs
};

class Machine {
 public:
  Machine(const Scheduled& scheduled, uint32_t seed) : s_(scheduled), random_(seed) {}

  // False: a deadlock.
  bool Run() {
    while (true) {
      std::vector<size_t> able;
      for (size_t e = 0; e < sim::kEngines; ++e) {
        if (CanStep(e)) able.push_back(e);
      }
      // DMA is one more party, which may be as slow as it likes.
      if (!under_way_.empty()) able.push_back(sim::kEngines);
      if (able.empty()) break;
      const size_t chosen = able[random_() % able.size()];
      if (chosen == sim::kEngines) {
        FinishTransfer();
      } else {
        Step(chosen);
      }
    }
    for (size_t e = 0; e < sim::kEngines; ++e) {
      if (at_[e] != s_.schedule.streams[e].instructions.size()) return false;
    }
    return true;
  }

  const std::vector<Event>& events() const { return events_; }
  uint32_t semaphore(size_t i) const { return semaphores_[i]; }
  size_t waits() const { return waits_; }

 private:
  const sim::Instruction* Next(size_t e) const {
    const auto& instructions = s_.schedule.streams[e].instructions;
    return at_[e] < instructions.size() ? &instructions[at_[e]] : nullptr;
  }

  bool CanStep(size_t e) const {
    const sim::Instruction* next = Next(e);
    if (next == nullptr) return false;
    // The end of a stream says that its transfers have ended, too.
    if (std::holds_alternative<sim::End>(*next)) return true;
    const auto* wait = std::get_if<sim::SemaphoreWait>(next);
    return wait == nullptr || semaphores_[wait->semaphore] >= wait->value;
  }

  void Step(size_t e) {
    const sim::Instruction& next = *Next(e);
    ++at_[e];
    if (std::holds_alternative<sim::SemaphoreWait>(next)) ++waits_;
    if (const auto* signal = std::get_if<sim::SemaphoreSignal>(&next))
      ++semaphores_[signal->semaphore];
    if (const auto* trigger = std::get_if<sim::DmaTrigger>(&next)) {
      for (const Transfer& transfer : s_.schedule.transfers[e]) {
        if (transfer.id == trigger->id) under_way_.push_back(transfer);
      }
    }
    std::vector<Access> accesses = AccessesOf(next);
    if (!accesses.empty()) events_.push_back({std::move(accesses), PlaceOf(e)});
  }

  // The n-th computing instruction of an engine is its n-th in the program.
  size_t PlaceOf(size_t e) {
    size_t& from = searched_[e];
    while (static_cast<size_t>(s_.program[from].engine) != e) ++from;
    return 1 + from++;
  }

  void FinishTransfer() {
    const size_t chosen = random_() % under_way_.size();
    const Transfer transfer = under_way_[chosen];
    under_way_.erase(under_way_.begin() + static_cast<std::ptrdiff_t>(chosen));
    ++semaphores_[transfer.semaphore];
    events_.push_back({{{transfer.device_variable, transfer.device_offset,
                         transfer.device_offset + transfer.bytes, transfer.is_input}},
                       transfer.is_input ? 0 : 1 + s_.program.size()});
  }

  const Scheduled& s_;
  std::mt19937 random_;
  std::array<size_t, sim::kEngines> at_{};
  std::array<size_t, sim::kEngines> searched_{};
  std::array<uint32_t, sim::kSemaphores> semaphores_{};
  std::vector<Transfer> under_way_;
  std::vector<Event> events_;
  size_t waits_ = 0;
};

bool Conflict(const Event& a, const Event& b) {
  for (const Access& x : a.accesses) {
    for (const Access& y : b.accesses) {
      if (x.Conflicts(y)) return true;
    }
  }
  return false;
}

// Nothing passed something that it conflicts with.
void ExpectProgramOrder(const std::vector<Event>& events) {
  for (size_t i = 0; i < events.size(); ++i) {
    for (size_t j = i + 1; j < events.size(); ++j) {
      if (events[j].place < events[i].place) {
        EXPECT_FALSE(Conflict(events[i], events[j]))
            << "step " << events[i].place << " ran before " << events[j].place;
      }
    }
  }
}

void ExpectGood(const Scheduled& scheduled) {
  const size_t expected = scheduled.plan.input_variables.size() + scheduled.program.size() +
                          scheduled.graph.outputs.size();
  for (uint32_t seed = 0; seed < 25; ++seed) {
    Machine machine(scheduled, seed);
    ASSERT_TRUE(machine.Run()) << "deadlock with seed " << seed;
    EXPECT_EQ(machine.events().size(), expected);
    ExpectProgramOrder(machine.events());
    EXPECT_EQ(machine.semaphore(0), scheduled.plan.input_variables.size());
    EXPECT_EQ(machine.semaphore(1), scheduled.graph.outputs.size());
  }
  const sim::ProgramContext context = ContextOf(scheduled.plan, scheduled.schedule);
  for (const sim::Stream& stream : scheduled.schedule.streams) {
    const auto valid = sim::Validate(stream, context);
    EXPECT_TRUE(valid) << valid.error().text;
  }
  EXPECT_LE(scheduled.schedule.semaphores, sim::kSemaphores);
}

TEST(Schedule, EveryCaseRunsInAnyOrderOfItsEngines) {
  for (const std::string& name : CaseNames()) {
    SCOPED_TRACE(name);
    for (Graph& piece : PiecesOf(ModelOf(name))) ExpectGood(Scheduled(std::move(piece)));
  }
  for (Graph& piece : PiecesOf(std::string(NRTD_SOURCE_DIR) + "/models/digits/digits.onnx"))
    ExpectGood(Scheduled(std::move(piece)));
}

// Random graphs of many small nodes on all engines, so that places are reused across engines.
TEST(Schedule, RandomGraphsRunInAnyOrderOfTheirEngines) {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    GraphWriter w;
    std::vector<ValueId> values{w.Input("p", {4, 4}), w.Input("q", {4, 4})};
    for (int i = 0; i < 30; ++i) {
      // Of the last few, so that others end.
      const auto pick = [&] {
        return values[values.size() - 1 - random() % std::min<size_t>(values.size(), 5)];
      };
      const std::string name = "n" + std::to_string(i);
      const Shape shape{4, 4};
      const ValueId a = pick();
      switch (random() % 4) {
        case 0:
          values.push_back(w.Node(name, MatMul{}, {a, pick()}, shape));
          break;
        case 1:
          values.push_back(w.Node(name, kRelu, {a}, shape));
          break;
        case 2:
          values.push_back(w.Node(name, kAdd, {a, pick()}, shape));
          break;
        default:
          values.push_back(w.Node(name, Softmax{1, 2}, {a}, shape));
      }
    }
    Graph graph = w.Finish({values.back(), values[values.size() - 7]});
    RunPasses(graph);
    ExpectGood(Scheduled(std::move(graph)));
  }
}

// The test above would be worth nothing if it could not fail: without its waits a schedule must.
TEST(Schedule, ItsTestFindsAMissingWait) {
  Scheduled scheduled(PiecesOf(ModelOf("chain_conv_relu_maxpool")).at(0));
  for (sim::Stream& stream : scheduled.schedule.streams) {
    for (sim::Instruction& instruction : stream.instructions) {
      if (auto* wait = std::get_if<sim::SemaphoreWait>(&instruction)) wait->value = 0;
    }
  }
  bool found = false;
  for (uint32_t seed = 0; seed < 25 && !found; ++seed) {
    Machine machine(scheduled, seed);
    ASSERT_TRUE(machine.Run());
    const auto& events = machine.events();
    for (size_t i = 0; i < events.size(); ++i) {
      for (size_t j = i + 1; j < events.size(); ++j)
        found = found || (events[j].place < events[i].place && Conflict(events[i], events[j]));
    }
  }
  EXPECT_TRUE(found);
}

size_t CountOf(const sim::Stream& stream, sim::Opcode opcode) {
  return static_cast<size_t>(
      std::count_if(stream.instructions.begin(), stream.instructions.end(),
                    [&](const auto& i) { return sim::OpcodeOf(i) == opcode; }));
}

TEST(Schedule, OneEngineAloneNeedsNoSignals) {
  GraphWriter w;
  const ValueId x = w.Input("x", {4});
  ValueId last = x;
  for (int i = 0; i < 5; ++i) last = w.Node("s" + std::to_string(i), Softmax{0, 1}, {last}, {4});
  const Scheduled scheduled(w.Finish({last}));
  const auto& act = scheduled.schedule.streams[static_cast<size_t>(sim::Engine::kAct)];
  EXPECT_EQ(CountOf(act, sim::Opcode::kSemaphoreSignal), 0U);
  EXPECT_EQ(CountOf(act, sim::Opcode::kSemaphoreWait), 2U);  // inputs arrived, outputs gone
  for (const sim::Engine idle : {sim::Engine::kPe, sim::Engine::kPool})
    EXPECT_EQ(scheduled.schedule.streams[static_cast<size_t>(idle)].instructions.size(), 1U);
}

// PE writes once, ACT reads it twice: the second read needs no second wait.
TEST(Schedule, WaitsOnlyForWhatIsNotKnown) {
  GraphWriter w;
  const ValueId x = w.Input("x", {2, 2});
  const ValueId weights = w.Constant("weights", {2, 2});
  const ValueId product = w.Node("product", MatMul{}, {x, weights}, {2, 2});
  const ValueId a = w.Node("a", Softmax{0, 1}, {product}, {2, 2});
  const ValueId b = w.Node("b", Softmax{1, 2}, {product}, {2, 2});
  const Scheduled scheduled(w.Finish({a, b}));
  const auto& act = scheduled.schedule.streams[static_cast<size_t>(sim::Engine::kAct)];
  EXPECT_EQ(CountOf(act, sim::Opcode::kSemaphoreWait), 2U);  // the product, outputs gone
  EXPECT_EQ(CountOf(act, sim::Opcode::kDmaTrigger), 2U);
}

TEST(Schedule, AnOutputThatIsAnInputIsSentWithoutComputing) {
  const Scheduled scheduled(PiecesOf(ModelOf("input_reshaped_to_output")).at(0));
  EXPECT_TRUE(scheduled.program.empty());
  const auto& pool = scheduled.schedule.transfers[static_cast<size_t>(sim::Engine::kPool)];
  ASSERT_EQ(pool.size(), 2U);
  EXPECT_TRUE(pool[0].is_input);
  EXPECT_FALSE(pool[1].is_input);
}

}  // namespace
}  // namespace nrtd::compiler
