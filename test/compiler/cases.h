// SPDX-License-Identifier: Apache-2.0
//
// What the tests of this room share: the models in data/ (made by models/tests/make_op_models.py),
// files that go away, and graphs written by hand.
#pragma once

#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/npy.h"
#include "compiler/ir.h"
#include "test/must.h"

namespace nrtd::compiler {

std::filesystem::path DataFolder();

// data/<name>/: a model, its inputs, and what ONNX Runtime answers.
struct Case {
  std::string name;
  std::string model;  // path
  std::map<std::string, NpyArray> inputs;
  std::map<std::string, NpyArray> outputs;
};
std::vector<std::string> CaseNames();
Case LoadCase(const std::string& name);
std::string ModelOf(const std::string& name);
std::string RefusedModel(const std::string& name);
// What cores run of a model, behind all passes.
std::vector<Graph> PiecesOf(const std::string& model);

// A folder that is removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string File(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

// Writes graphs down: every function returns the new value.
class GraphWriter {
 public:
  ValueId Input(const std::string& name, Shape shape);
  ValueId Constant(const std::string& name, Shape shape, std::vector<float> values = {});
  ValueId Node(const std::string& name, Operation operation, std::vector<ValueId> inputs,
               Shape shape);
  Graph Finish(std::vector<ValueId> outputs);

  Graph graph;
};

inline constexpr Activation kRelu{sim::Function::kRelu, 0, 0};
inline constexpr Binary kAdd{sim::BinaryFunction::kAdd};

}  // namespace nrtd::compiler
