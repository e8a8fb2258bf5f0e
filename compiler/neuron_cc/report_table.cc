// SPDX-License-Identifier: Apache-2.0
#include "compiler/neuron_cc/report_table.h"

#include "base/sizes.h"

namespace nrtd::compiler {
namespace {

std::string PortLine(std::string_view direction, const PortReport& port) {
  return fmt::format("  {:<7} {} {} {}{}\n", direction, port.name, DTypeName(port.dtype),
                     ShapeText(port.shape), port.is_used ? "" : " (no node reads it)");
}

}  // namespace

std::string ReportTable(const CompileReport& report, const std::string& neff_path) {
  std::string text = fmt::format("{}: network '{}', target sim-inf1 (simulated Inferentia)\n",
                                 neff_path, report.name);
  for (const PortReport& port : report.inputs) text += PortLine("input", port);
  for (const PortReport& port : report.outputs) text += PortLine("output", port);
  text += fmt::format("  {:<7} {:>13} {:>13} {:>15} {:>13}\n", "engine", "instructions",
                      "computing", "MACs", "bytes");
  EngineReport sum;
  const auto line = [&](std::string_view name, const EngineReport& engine) {
    text += fmt::format("  {:<7} {:>13} {:>13} {:>15} {:>13}\n", name, engine.instructions,
                        engine.tensor_instructions, engine.macs, engine.bytes);
  };
  for (size_t e = 0; e < sim::kEngines; ++e) {
    const EngineReport& engine = report.engines[e];
    line(sim::EngineName(static_cast<sim::Engine>(e)), engine);
    sum.instructions += engine.instructions;
    sum.tensor_instructions += engine.tensor_instructions;
    sum.macs += engine.macs;
    sum.bytes += engine.bytes;
  }
  line("all", sum);
  text += fmt::format("  weights {}, scratch peak {} ({} without sharing), NEFF {}\n",
                      HumanBytes(report.weight_bytes), HumanBytes(report.scratch_bytes),
                      HumanBytes(report.unshared_bytes), HumanBytes(report.neff_bytes));
  text += fmt::format("  uuid {}\n", report.uuid);
  return text;
}

}  // namespace nrtd::compiler
