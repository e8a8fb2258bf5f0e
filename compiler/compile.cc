// SPDX-License-Identifier: Apache-2.0
#include "compiler/compile.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>

#include "base/digest.h"
#include "compiler/batches.h"
#include "compiler/emit.h"
#include "compiler/host_call.h"
#include "compiler/lower/lower.h"
#include "compiler/memory_plan.h"
#include "compiler/onnx_import.h"
#include "compiler/partition.h"
#include "compiler/passes/passes.h"
#include "compiler/schedule.h"
#include "driver_shim/sim/pace.h"

namespace nrtd::compiler {
namespace {

PortReport PortOf(const Value& value, bool is_used,
                  const std::map<std::string, uint32_t>& batches) {
  const auto batch = batches.find(value.name);
  return {value.name, value.dtype, value.shape, is_used,
          batch == batches.end() ? 0 : batch->second};
}

// A model may compute something else once its inputs have more rows.
Result<void> CheckBatch(const Graph& graph, uint32_t wanted,
                        const std::map<std::string, uint32_t>& batches) {
  for (const ValueId id : graph.outputs) {
    const auto batch = batches.find(graph.at(id).name);
    if (batch != batches.end() && batch->second == wanted) continue;
    return Fail(Nerr::kInvalid,
                "a batch of {}: output '{}' is {}, and its rows are not seen to depend on the same "
                "rows of the inputs alone: export the model for this batch",
                wanted, graph.at(id).name, ShapeText(graph.at(id).shape));
  }
  return {};
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

namespace {

// One core's program out of its graph.
Result<PieceProgram> CompilePiece(const Graph& graph) {
  PieceProgram piece;
  piece.graph = &graph;
  piece.plan = PlanMemory(graph);
  NRTD_ASSIGN(const auto program, LowerGraph(graph, piece.plan));
  NRTD_ASSIGN(piece.schedule, MakeSchedule(graph, piece.plan, program));
  return piece;
}

PieceReport ReportOf(const PieceProgram& piece) {
  PieceReport report;
  sim::ProgramPace pace;
  for (const sim::Stream& stream : piece.schedule.streams) {
    report.engines[static_cast<size_t>(stream.engine)] = ReportOf(stream);
    pace.Add(stream);
  }
  report.predicted_ns = pace.Ns(ContextOf(piece.plan, piece.schedule));
  report.weight_bytes = piece.plan.weight_bytes;
  report.scratch_bytes = piece.plan.scratch_bytes;
  report.unshared_bytes = piece.plan.unshared_bytes;
  return report;
}

CallReport ReportOf(const Stage& call, const Graph& graph) {
  CallReport report{call.name, call.call->function, 0};
  for (const auto* values : {&call.inputs, &call.outputs})
    for (ValueId id : *values) report.bytes += graph.at(id).Bytes();
  return report;
}

// What is wrong with a call is said now, not at load.
Result<void> CheckCall(const Stage& stage, const Graph& graph) {
  auto kernel = PrepareCall(graph, *stage.call, stage.inputs, stage.outputs);
  if (kernel) return {};
  return tl::unexpected<Error>(std::move(kernel.error()).In(stage.name));
}

}  // namespace

PieceReport CompileReport::Total() const {
  PieceReport total;
  for (const StageReport& stage : stages) {
    for (const PieceReport& piece : stage.pieces) {
      for (size_t e = 0; e < sim::kEngines; ++e) {
        total.engines[e].instructions += piece.engines[e].instructions;
        total.engines[e].tensor_instructions += piece.engines[e].tensor_instructions;
        total.engines[e].macs += piece.engines[e].macs;
        total.engines[e].bytes += piece.engines[e].bytes;
      }
      total.weight_bytes += piece.weight_bytes;
      total.scratch_bytes += piece.scratch_bytes;
      total.unshared_bytes += piece.unshared_bytes;
      total.predicted_ns = std::max(total.predicted_ns, piece.predicted_ns);
    }
  }
  return total;
}

Result<Compiled> CompileGraph(Graph graph, const CompileOptions& options) {
  const bool casts = options.fp32_cast != Fp32Cast::kNone;
  if (!casts && !options.samples.empty())
    return Fail(Nerr::kInvalid,
                "samples correct what casts change, and nothing is cast: leave out --calibrate or "
                "--fp32-cast none");
  Compiled compiled;
  CompileReport& report = compiled.report;
  const std::map<std::string, uint32_t> batches = BatchesOf(graph);
  if (options.batch) NRTD_TRY(CheckBatch(graph, *options.batch, batches));
  RunPasses(graph);
  if (casts) CastProducts(graph);
  NRTD_TRY(graph.Check());
  if (!options.samples.empty()) {
    report.samples = options.samples.size();
    NRTD_ASSIGN(report.corrected_biases,
                CorrectBiases(graph, options.samples, options.correction_progress));
    NRTD_TRY(graph.Check());
  }
  NRTD_ASSIGN(const std::vector<Stage> stages, Partition(graph, options.pipeline_cores));

  report.name = HeaderName(graph.name);
  std::vector<PieceProgram> programs;
  std::set<ValueId> read(graph.outputs.begin(), graph.outputs.end());
  for (const Stage& stage : stages) {
    StageReport& row = report.stages.emplace_back();
    read.insert(stage.inputs.begin(), stage.inputs.end());
    if (stage.call) {
      NRTD_TRY(CheckCall(stage, graph));
      row.call = ReportOf(stage, graph);
    }
    for (const Graph& piece : stage.pieces) {
      NRTD_ASSIGN(PieceProgram program, CompilePiece(piece));
      row.pieces.push_back(ReportOf(program));
      programs.push_back(std::move(program));
    }
  }
  NRTD_ASSIGN(compiled.contents, Emit(graph, stages, programs, report.name));
  compiled.contents.info.batches = batches;
  report.uuid = Hex(compiled.contents.header.uuid);
  for (ValueId id : graph.inputs) {
    report.inputs.push_back(PortOf(graph.at(id), read.contains(id), batches));
  }
  for (ValueId id : graph.outputs) report.outputs.push_back(PortOf(graph.at(id), true, batches));
  return compiled;
}

Result<CompileReport> CompileOnnx(const std::string& onnx_path, const std::string& neff_path,
                                  const CompileOptions& options) {
  NRTD_ASSIGN(Graph graph, ImportOnnx(onnx_path, options.batch));
  auto compiled = CompileGraph(std::move(graph), options);
  if (!compiled) return tl::unexpected<Error>(std::move(compiled.error()).In(onnx_path));
  NRTD_TRY(neff::WriteNeff(compiled->contents, neff_path));
  std::error_code error;
  compiled->report.neff_bytes = std::filesystem::file_size(neff_path, error);
  if (error) return Fail(Nerr::kResource, "{}: {}", neff_path, error.message());
  return std::move(compiled->report);
}

}  // namespace nrtd::compiler
