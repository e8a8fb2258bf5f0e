// SPDX-License-Identifier: Apache-2.0
#include "test/compiler/cases.h"

#include <algorithm>

#include <nlohmann/json.hpp>
#include <stdlib.h>

#include "base/file.h"
#include "compiler/onnx_import.h"
#include "compiler/partition.h"
#include "compiler/passes/passes.h"

namespace nrtd::compiler {

std::filesystem::path DataFolder() {
  return std::filesystem::path(NRTD_SOURCE_DIR) / "test/compiler/data";
}

std::vector<std::string> CaseNames() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(DataFolder())) {
    if (std::filesystem::exists(entry.path() / "case.json"))
      names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string ModelOf(const std::string& name) {
  return (DataFolder() / name / "model.onnx").string();
}

std::string RefusedModel(const std::string& name) {
  return (DataFolder() / "refused" / (name + ".onnx")).string();
}

Case LoadCase(const std::string& name) {
  const std::filesystem::path folder = DataFolder() / name;
  Case loaded{name, ModelOf(name), {}, {}};
  const auto description =
      nlohmann::json::parse(Must(ReadTextFile((folder / "case.json").string())));
  const auto read = [&](const std::string& key, std::map<std::string, NpyArray>& arrays) {
    for (const auto& [tensor, file] : description.at(key).items())
      arrays[tensor] = Must(ReadNpyFile((folder / file.get<std::string>()).string()));
  };
  read("inputs", loaded.inputs);
  read("outputs", loaded.outputs);
  return loaded;
}

std::vector<Graph> PiecesOf(const std::string& model) {
  Graph graph = Must(ImportOnnx(model));
  RunPasses(graph);
  CastProducts(graph);
  std::vector<Graph> pieces;
  for (Stage& stage : Must(Partition(graph, 1)))
    for (Graph& piece : stage.pieces) pieces.push_back(std::move(piece));
  return pieces;
}

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "compiler-test-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

ValueId GraphWriter::Input(const std::string& name, Shape shape) {
  const ValueId id = graph.Add({name, DType::kFloat32, std::move(shape), std::nullopt});
  graph.inputs.push_back(id);
  return id;
}

ValueId GraphWriter::Constant(const std::string& name, Shape shape, std::vector<float> values) {
  const ValueId id = graph.Add({name, DType::kFloat32, std::move(shape), std::nullopt});
  values.resize(graph.at(id).Elements(), 1.0F);
  graph.values[id].data = BytesOf(values);
  return id;
}

ValueId GraphWriter::Node(const std::string& name, Operation operation, std::vector<ValueId> inputs,
                          Shape shape) {
  const ValueId id = graph.Add({name, DType::kFloat32, std::move(shape), std::nullopt});
  graph.nodes.push_back({name, operation, std::move(inputs), id});
  return id;
}

Graph GraphWriter::Finish(std::vector<ValueId> outputs) {
  graph.outputs = std::move(outputs);
  Must(graph.Check());
  return graph;
}

}  // namespace nrtd::compiler
