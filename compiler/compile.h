// SPDX-License-Identifier: Apache-2.0
//
// ONNX to NEFF for the simulated target: import (onnx_import.h), passes (passes/), placement
// (memory_plan.h), instructions (lower/), streams (schedule.h), the file (emit.h).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/error.h"
#include "compiler/bias_correction.h"
#include "compiler/ir.h"
#include "compiler/samples.h"
#include "driver_shim/sim/isa.h"
#include "neff/writer.h"

namespace nrtd::compiler {

// Which float32 operations may be computed in bfloat16 (with float32 sums). PE is the only engine
// that can, so kAll and kMatMult are the same today.
enum class Fp32Cast { kAll, kMatMult, kNone };

struct CompileOptions {
  Fp32Cast fp32_cast = Fp32Cast::kAll;
  uint32_t pipeline_cores = 1;  // NeuronCores that the network is cut for, one piece each
  // Requests at once, instead of what the first dimension of the model's inputs says.
  std::optional<uint32_t> batch = {};
  // If there are any, biases make up for what casts change on average (bias_correction.h).
  std::vector<Sample> samples = {};
  Progress correction_progress = {};
};

struct PortReport {
  std::string name;
  DType dtype = DType::kFloat32;
  Shape shape;
  bool is_used = true;  // false for an input that no node reads
  uint32_t batch = 0;   // requests along the first dimension (batches.h); 0: not known
};

struct EngineReport {
  uint64_t instructions = 0;         // of the stream, synchronisation and End included
  uint64_t tensor_instructions = 0;  // those that compute
  uint64_t macs = 0;
  uint64_t bytes = 0;  // that its operands reach
};

// What one core runs.
struct PieceReport {
  std::array<EngineReport, sim::kEngines> engines;  // by sim::Engine
  uint64_t weight_bytes = 0;
  uint64_t scratch_bytes = 0;   // device memory for everything between inputs and outputs: the peak
  uint64_t unshared_bytes = 0;  // what that would be without sharing
  uint64_t predicted_ns = 0;    // at best, on a real Inferentia (driver_shim/sim/pace.h)
};

// What the host's CPUs run.
struct CallReport {
  std::string node;      // "TopK 'best'"
  std::string function;  // "nrt_topk"
  uint64_t bytes = 0;    // of its inputs and outputs
};

// One or the other, in the order in which they run.
struct StageReport {
  std::vector<PieceReport> pieces;
  std::optional<CallReport> call = {};
};

struct CompileReport {
  std::string name;
  std::string uuid;  // 32 hexadecimal digits
  std::vector<PortReport> inputs;
  std::vector<PortReport> outputs;
  std::vector<StageReport> stages;
  uint64_t neff_bytes = 0;
  size_t samples = 0;           // that biases were corrected from
  size_t corrected_biases = 0;  // nodes whose bias was corrected

  PieceReport Total() const;  // of all pieces; the longest prediction is a pipeline's period
};

// Compiles a file into a file, which is replaced in one step. kInvalid, with the path and what to
// do: whatever ReadOnnx() and BuildGraph() refuse, options that are not supported. kResource: the
// NEFF cannot be written.
Result<CompileReport> CompileOnnx(const std::string& onnx_path, const std::string& neff_path,
                                  const CompileOptions& options = {});

struct Compiled {
  neff::NeffContents contents;
  CompileReport report;  // neff_bytes is 0
};
// The same behind the import, in memory.
Result<Compiled> CompileGraph(Graph graph, const CompileOptions& options = {});

}  // namespace nrtd::compiler
