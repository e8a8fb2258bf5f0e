// SPDX-License-Identifier: Apache-2.0
#include "compiler/neuron_cc/saved_model.h"

#include <algorithm>

#include "base/file.h"
#include "serving/graph/saved_model_writer.h"

namespace nrtd::compiler {
namespace {

// "ids:0" is known as "ids".
std::string KeyOf(const std::string& name, const std::map<std::string, std::string>& keys) {
  const auto found = keys.find(name);
  if (found != keys.end()) return found->second;
  return name.ends_with(":0") ? name.substr(0, name.size() - 2) : name;
}

Result<std::vector<serving::SavedPort>> PortsOf(const std::vector<PortReport>& reports,
                                                const std::map<std::string, std::string>& keys) {
  for (const auto& [name, key] : keys) {
    const auto named = [&wanted = name](const PortReport& port) { return port.name == wanted; };
    if (std::none_of(reports.begin(), reports.end(), named))
      return Fail(Nerr::kInvalid,
                  "'{}' is to be '{}' in the signature, and the network has no such "
                  "tensor",
                  name, key);
  }
  std::vector<serving::SavedPort> ports;
  for (const PortReport& port : reports)
    ports.push_back({KeyOf(port.name, keys), port.name, port.dtype, port.shape, port.batch > 0});
  return ports;
}

// Whether the first dimension of these ports is the batch, in every compilation: where one is for a
// batch of 1, others' first dimensions of 1 look like it.
using Ports = std::vector<PortReport> CompileReport::*;
Result<void> SetBatched(const std::vector<CompiledFile>& compiled, Ports ports,
                        std::vector<serving::SavedPort>& saved) {
  for (const CompiledFile& file : compiled) {
    for (size_t i = 0; i < saved.size(); ++i)
      saved[i].batched = saved[i].batched && (file.report.*ports)[i].batch > 0;
  }
  for (const CompiledFile& file : compiled) {
    for (size_t i = 0; i < saved.size(); ++i) {
      const Shape& shape = (file.report.*ports)[i].shape;
      if (saved[i].batched || shape == saved[i].shape) continue;
      return Fail(Nerr::kInvalid,
                  "'{}' is {} for one batch and {} for another, and its rows are no requests",
                  saved[i].name, ShapeText(saved[i].shape), ShapeText(shape));
    }
  }
  return {};
}

std::vector<Shape> ShapesOf(const std::vector<PortReport>& reports) {
  std::vector<Shape> shapes;
  for (const PortReport& port : reports) shapes.push_back(port.shape);
  return shapes;
}

}  // namespace

Result<void> AddKey(const std::string& assignment, std::map<std::string, std::string>& keys) {
  const size_t equals = assignment.find('=');
  if (equals == 0 || equals == std::string::npos || equals + 1 == assignment.size())
    return Fail(Nerr::kInvalid, "'{}' is not KEY=TENSOR, such as input_ids=ids:0", assignment);
  keys[assignment.substr(equals + 1)] = assignment.substr(0, equals);
  return {};
}

Result<std::string> SaveAsSavedModel(const std::vector<CompiledFile>& compiled,
                                     const SavedModelTarget& target) {
  const CompileReport& report = compiled.front().report;
  serving::SavedNetwork network;
  network.name = target.model_name.empty() ? report.name : target.model_name;
  network.method = target.method;
  NRTD_ASSIGN(network.inputs, PortsOf(report.inputs, target.input_keys));
  NRTD_ASSIGN(network.outputs, PortsOf(report.outputs, target.output_keys));
  NRTD_TRY(SetBatched(compiled, &CompileReport::inputs, network.inputs));
  NRTD_TRY(SetBatched(compiled, &CompileReport::outputs, network.outputs));
  uint32_t cores = 0;
  for (const StageReport& stage : report.stages)
    cores = std::max(cores, static_cast<uint32_t>(stage.pieces.size()));
  network.cores = std::max(cores, 1U);
  NRTD_ASSIGN(network.neff, ReadTextFile(compiled.front().neff_path, INT32_MAX));
  for (size_t i = 1; i < compiled.size(); ++i) {
    NRTD_ASSIGN(std::string neff, ReadTextFile(compiled[i].neff_path, INT32_MAX));
    network.variants.push_back({ShapesOf(compiled[i].report.inputs),
                                ShapesOf(compiled[i].report.outputs), std::move(neff)});
  }
  NRTD_ASSIGN(const auto saved_model, serving::MakeSavedModel(std::move(network)));
  NRTD_TRY(serving::WriteSavedModel(saved_model, target.folder, target.version));
  return fmt::format("{}/{}/saved_model.pb", target.folder, target.version);
}

}  // namespace nrtd::compiler
