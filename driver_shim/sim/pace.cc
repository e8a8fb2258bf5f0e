// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/pace.h"

#include <algorithm>

namespace nrtd::sim {
namespace {

constexpr double kNsPerSecond = 1e9;

uint64_t Elements(const Operand& operand) {
  return ElementCount(operand.dims).value_or(0);
}

// The elements that an instruction looks at.
struct Work {
  uint64_t operator()(const Conv2d&) const { return 0; }
  uint64_t operator()(const MatMul&) const { return 0; }
  uint64_t operator()(const Pool2d& i) const {
    return Elements(i.output) * static_cast<uint64_t>(i.kernel[0] * i.kernel[1]);
  }
  uint64_t operator()(const Reduce& i) const { return Elements(i.input); }
  template <typename I>
  requires requires(const I& i) { i.output; }
  uint64_t operator()(const I& i) const { return Elements(i.output); }
  template <typename Control>
  uint64_t operator()(const Control&) const {
    return 0;
  }
};

double FlopsPerSecond(const Instruction& instruction) {
  const auto of = [](Precision precision) {
    return precision == Precision::kBFloat16 ? Inf1::kBFloat16FlopsPerSecond
                                             : Inf1::kFloat32FlopsPerSecond;
  };
  if (const auto* conv = std::get_if<Conv2d>(&instruction)) return of(conv->precision);
  if (const auto* product = std::get_if<MatMul>(&instruction)) return of(product->precision);
  return Inf1::kFloat32FlopsPerSecond;
}

}  // namespace

uint64_t PaceNs(Engine engine, const Instruction& instruction) {
  constexpr double kFlopsPerMac = 2;
  double seconds =
      static_cast<double>(MacCount(instruction)) * kFlopsPerMac / FlopsPerSecond(instruction);
  const double per_cycle = engine == Engine::kAct ? Inf1::kActPerCycle : Inf1::kPoolPerCycle;
  seconds +=
      static_cast<double>(std::visit(Work{}, instruction)) / per_cycle / Inf1::kCyclesPerSecond;
  return static_cast<uint64_t>(seconds * kNsPerSecond);
}

void ProgramPace::Add(Engine engine, const Instruction& instruction) {
  instructions_ns_ += PaceNs(engine, instruction);
  if (const auto* gather = std::get_if<Gather>(&instruction)) tables_.insert(gather->table.var_id);
}

uint64_t ProgramPace::Ns(const ProgramContext& context) const {
  uint64_t bytes = 0;
  for (const VariableInfo& variable : context.variables)
    if (!variable.writable && !tables_.contains(variable.var_id)) bytes += variable.size;
  const double dram = static_cast<double>(bytes) / Inf1::kDramBytesPerSecond * kNsPerSecond;
  return std::max(instructions_ns_, static_cast<uint64_t>(dram));
}

}  // namespace nrtd::sim
