// SPDX-License-Identifier: Apache-2.0
#include "compiler/compile.h"

#include <filesystem>
#include <system_error>

#include "base/digest.h"
#include "compiler/emit.h"
#include "compiler/lower/lower.h"
#include "compiler/memory_plan.h"
#include "compiler/onnx_import.h"
#include "compiler/passes/passes.h"
#include "compiler/schedule.h"

namespace nrtd::compiler {
namespace {

PortReport PortOf(const Value& value, bool is_used) {
  return {value.name, value.dtype, value.shape, is_used};
}

EngineReport ReportOf(const sim::Stream& stream) {
  EngineReport report;
  report.instructions = stream.instructions.size();
  for (const sim::Instruction& instruction : stream.instructions) {
    const std::vector<Access> accesses = AccessesOf(instruction);
    if (accesses.empty()) continue;
    ++report.tensor_instructions;
    report.macs += sim::MacCount(instruction);
    for (const Access& access : accesses) report.bytes += access.end - access.begin;
  }
  return report;
}

// The header's text field holds printable ASCII, and not much of it.
std::string HeaderName(const std::string& graph_name) {
  std::string name;
  for (char c : graph_name.substr(0, neff::kNameSize - 1)) name += c >= ' ' && c <= '~' ? c : '?';
  return name.empty() ? "network" : name;
}

}  // namespace

Result<Compiled> CompileGraph(Graph graph, const CompileOptions& options) {
  if (options.pipeline_cores != 1) {
    return Fail(Nerr::kInvalid,
                "a pipeline of {} cores is not supported yet: compile for 1 NeuronCore "
                "(--neuroncore-pipeline-cores 1)",
                options.pipeline_cores);
  }
  const bool cast = options.fp32_cast != Fp32Cast::kNone;
  RunPasses(graph);
  NRTD_TRY(graph.Check());
  const MemoryPlan plan = PlanMemory(graph, cast ? DType::kBFloat16 : DType::kFloat32);
  NRTD_ASSIGN(const auto program,
              LowerGraph(graph, plan, cast ? sim::Precision::kBFloat16 : sim::Precision::kFloat32));
  NRTD_ASSIGN(const Schedule schedule, MakeSchedule(graph, plan, program));

  Compiled compiled;
  CompileReport& report = compiled.report;
  report.name = HeaderName(graph.name);
  NRTD_ASSIGN(compiled.contents, Emit(graph, plan, schedule, report.name));
  report.uuid = Hex(compiled.contents.header.uuid);
  for (ValueId id : graph.inputs)
    report.inputs.push_back(PortOf(graph.at(id), plan.input_variables.contains(id)));
  for (ValueId id : graph.outputs) report.outputs.push_back(PortOf(graph.at(id), true));
  for (size_t e = 0; e < sim::kEngines; ++e) report.engines[e] = ReportOf(schedule.streams[e]);
  report.weight_bytes = plan.weight_bytes;
  report.scratch_bytes = plan.scratch_bytes;
  report.unshared_bytes = plan.unshared_bytes;
  return compiled;
}

Result<CompileReport> CompileOnnx(const std::string& onnx_path, const std::string& neff_path,
                                  const CompileOptions& options) {
  NRTD_ASSIGN(Graph graph, ImportOnnx(onnx_path));
  auto compiled = CompileGraph(std::move(graph), options);
  if (!compiled) return tl::unexpected<Error>(std::move(compiled.error()).In(onnx_path));
  NRTD_TRY(neff::WriteNeff(compiled->contents, neff_path));
  std::error_code error;
  compiled->report.neff_bytes = std::filesystem::file_size(neff_path, error);
  if (error) return Fail(Nerr::kResource, "{}: {}", neff_path, error.message());
  return std::move(compiled->report);
}

}  // namespace nrtd::compiler
