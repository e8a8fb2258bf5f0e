// SPDX-License-Identifier: Apache-2.0
#include "compiler/neuron_cc/report_table.h"

#include "base/sizes.h"

namespace nrtd::compiler {
namespace {

std::string PortLine(std::string_view direction, const PortReport& port) {
  return fmt::format("  {:<7} {} {} {}{}\n", direction, port.name, DTypeName(port.dtype),
                     ShapeText(port.shape), port.is_used ? "" : " (no node reads it)");
}

uint64_t Macs(const PieceReport& piece) {
  uint64_t macs = 0;
  for (const EngineReport& engine : piece.engines) macs += engine.macs;
  return macs;
}
uint64_t Computing(const PieceReport& piece) {
  uint64_t count = 0;
  for (const EngineReport& engine : piece.engines) count += engine.tensor_instructions;
  return count;
}

std::string Time(uint64_t ns) {
  constexpr double kNsPerUs = 1e3;
  constexpr double kNsPerMs = 1e6;
  const auto value = static_cast<double>(ns);
  return value < kNsPerMs ? fmt::format("{:.1f} us", value / kNsPerUs)
                          : fmt::format("{:.3f} ms", value / kNsPerMs);
}

// What went where, and how long a real Inferentia would take at best.
std::string StageTable(const CompileReport& report) {
  std::string text =
      fmt::format("  {:<5} {:<24} {:>10} {:>15} {:>10} {:>10} {:>12}\n", "part", "runs on",
                  "operations", "MACs", "weights", "scratch", "Inf1 at best");
  size_t core = 0;
  uint64_t sum_ns = 0;
  for (const StageReport& stage : report.stages) {
    for (const PieceReport& piece : stage.pieces) {
      text += fmt::format("  sg{:02}  {:<24} {:>10} {:>15} {:>10} {:>10} {:>12}\n", core,
                          fmt::format("NeuronCore {}", core), Computing(piece), Macs(piece),
                          HumanBytes(piece.weight_bytes), HumanBytes(piece.scratch_bytes),
                          Time(piece.predicted_ns));
      sum_ns += piece.predicted_ns;
      ++core;
    }
    if (stage.call) {
      text += fmt::format("  host  {:<24} {:>10} {:>15} {}, {} in and out\n",
                          "CPU: " + stage.call->function, 1, "-", stage.call->node,
                          HumanBytes(stage.call->bytes));
    }
  }
  text +=
      fmt::format("  predicted on Inf1, from its public peak rates: latency >= {}", Time(sum_ns));
  if (core > 1) {
    text += fmt::format(", one inference every >= {}", Time(report.Total().predicted_ns));
  }
  return text + "\n";
}

}  // namespace

std::string ReportTable(const CompileReport& report, const std::string& neff_path) {
  std::string text = fmt::format("{}: network '{}', target sim-inf1 (simulated Inferentia)\n",
                                 neff_path, report.name);
  for (const PortReport& port : report.inputs) text += PortLine("input", port);
  for (const PortReport& port : report.outputs) text += PortLine("output", port);
  text += fmt::format("  {:<7} {:>13} {:>13} {:>15} {:>13}\n", "engine", "instructions",
                      "computing", "MACs", "bytes");
  const PieceReport total = report.Total();
  EngineReport sum;
  const auto line = [&](std::string_view name, const EngineReport& engine) {
    text += fmt::format("  {:<7} {:>13} {:>13} {:>15} {:>13}\n", name, engine.instructions,
                        engine.tensor_instructions, engine.macs, engine.bytes);
  };
  for (size_t e = 0; e < sim::kEngines; ++e) {
    const EngineReport& engine = total.engines[e];
    line(sim::EngineName(static_cast<sim::Engine>(e)), engine);
    sum.instructions += engine.instructions;
    sum.tensor_instructions += engine.tensor_instructions;
    sum.macs += engine.macs;
    sum.bytes += engine.bytes;
  }
  line("all", sum);
  text += StageTable(report);
  text += fmt::format("  weights {}, scratch peak {} ({} without sharing), NEFF {}\n",
                      HumanBytes(total.weight_bytes), HumanBytes(total.scratch_bytes),
                      HumanBytes(total.unshared_bytes), HumanBytes(report.neff_bytes));
  if (report.samples > 0)
    text += fmt::format("  biases of {} nodes corrected for casts, from {} sample{}\n",
                        report.corrected_biases, report.samples, report.samples == 1 ? "" : "s");
  text += fmt::format("  uuid {}\n", report.uuid);
  return text;
}

}  // namespace nrtd::compiler
