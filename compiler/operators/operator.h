// SPDX-License-Identifier: Apache-2.0
//
// From ONNX's operators to the compiler's own: one function an operator, in one file a family. They
// resolve what differs between operator set versions, defaults and automatic padding, and refuse
// what cannot be compiled, naming the node.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "compiler/ir.h"
#include "compiler/onnx_model.h"

namespace nrtd::compiler {

// ONNX's names of the operators that can be compiled, sorted.
std::vector<std::string_view> SupportedOperators();
bool IsSupported(std::string_view op_type);

// kInvalid with the node and the reason for what an operator cannot do.
Result<Graph> BuildGraph(OnnxModel model);

// What an operator's function works with.
class GraphBuilder {
 public:
  explicit GraphBuilder(OnnxModel& model);

  int64_t opset() const { return model_.opset; }
  const Value& at(ValueId id) const { return graph_.at(id); }

  // The node's input or output as a value of float32. kInvalid for another type, a shape that
  // depends on data, a dimension of 0.
  Result<ValueId> FloatInput(const OnnxNode& node, size_t index);
  Result<ValueId> FloatOutput(const OnnxNode& node);
  // The same for any type.
  Result<ValueId> Input(const OnnxNode& node, size_t index);
  Result<ValueId> Output(const OnnxNode& node);

  // A value between two nodes that one ONNX node becomes.
  ValueId Between(const OnnxNode& node, std::string_view what, Shape shape);

  void Append(const OnnxNode& node, Operation operation, std::vector<ValueId> inputs,
              ValueId output);

  Result<Graph> Finish() &&;

 private:
  friend Result<Graph> BuildGraph(OnnxModel model);
  Result<ValueId> Declare(const std::string& name);

  OnnxModel& model_;
  Graph graph_;
  std::map<std::string, ValueId> by_name_;
};

// "Conv 'conv1'"
std::string Describe(const OnnxNode& node);

Result<void> BuildConv(const OnnxNode& node, GraphBuilder& builder);
Result<void> BuildMaxPool(const OnnxNode& node, GraphBuilder& builder);
Result<void> BuildGemm(const OnnxNode& node, GraphBuilder& builder);
Result<void> BuildMatMul(const OnnxNode& node, GraphBuilder& builder);
Result<void> BuildAdd(const OnnxNode& node, GraphBuilder& builder);
Result<void> BuildRelu(const OnnxNode& node, GraphBuilder& builder);
Result<void> BuildSoftmax(const OnnxNode& node, GraphBuilder& builder);
Result<void> BuildReshape(const OnnxNode& node, GraphBuilder& builder);  // and Flatten

}  // namespace nrtd::compiler
