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
  Result<ValueId> Output(const OnnxNode& node, size_t index = 0);
  // An output whose type and shape the operator tells. kInvalid when ONNX's inference found
  // another.
  Result<ValueId> Output(const OnnxNode& node, DType dtype, Shape shape, size_t index = 0);
  // Elements of an input of int64 or int32 that is known now. kInvalid: it is not.
  Result<std::vector<int64_t>> Integers(const OnnxNode& node, size_t index);

  // A constant that the operator brings along.
  ValueId Constant(const OnnxNode& node, std::string_view what, DType dtype, Shape shape,
                   ByteVector data);
  ValueId Constant(const OnnxNode& node, std::string_view what, Shape shape,
                   const std::vector<float>& values);
  // The output is known now.
  void Set(ValueId output, ByteVector data) { graph_.values[output].data = std::move(data); }

  // A value between two nodes that one ONNX node becomes. Where it may be larger than all inputs
  // and outputs, CheckSize() comes before.
  ValueId Between(const OnnxNode& node, std::string_view what, Shape shape,
                  DType dtype = DType::kFloat32);

  // What depends on constants only is computed right away (evaluate.h), so that shapes that a model
  // computes are known to the operators behind.
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

// kInvalid, with the node and the tensor, for more elements than an operand may have
// (sim::kMaxElements). Comes before any arithmetic with the strides of a shape that the model's
// numbers make.
Result<void> CheckSize(const OnnxNode& node, std::string_view tensor, const Shape& shape);

// An axis counted from the front, of `rank` of them. kInvalid: there is none.
Result<size_t> AxisOf(const OnnxNode& node, int64_t axis, size_t rank);
// The attribute's list or that of the input, where it has become one; empty if there is none.
Result<std::vector<int64_t>> ListOf(const OnnxNode& node, const std::string& attribute,
                                    size_t input, GraphBuilder& builder);

// Where one function stands for several operators, they are told apart by op_type.
using BuildOperator = Result<void>(const OnnxNode& node, GraphBuilder& builder);
BuildOperator BuildConv;
BuildOperator BuildConvTranspose;
BuildOperator BuildPool;        // MaxPool, AveragePool
BuildOperator BuildGlobalPool;  // GlobalAveragePool, GlobalMaxPool
BuildOperator BuildBatchNormalization;
BuildOperator BuildGemm;
BuildOperator BuildMatMul;
BuildOperator BuildArithmetic;  // Add, Sub, Mul, Div, Pow, Min, Max, Sum, Mean
BuildOperator BuildFunction;    // Relu, Sqrt, Exp, ...: of one element
BuildOperator BuildClip;
BuildOperator BuildHardActivation;  // HardSigmoid, HardSwish
BuildOperator BuildComparison;      // Equal, Less, LessOrEqual, Greater, GreaterOrEqual
BuildOperator BuildLogic;           // And, Or, Not
BuildOperator BuildWhere;
BuildOperator BuildCast;
BuildOperator BuildIdentity;  // and Dropout
BuildOperator BuildSoftmax;
BuildOperator BuildReduction;  // ReduceMean, ReduceSum, ReduceMax, ReduceMin, ReduceProd
BuildOperator BuildLayerNormalization;
BuildOperator BuildReshape;  // and Flatten, Squeeze, Unsqueeze
BuildOperator BuildShape;    // and Size
BuildOperator BuildConstantOfShape;
BuildOperator BuildRange;
BuildOperator BuildTranspose;
BuildOperator BuildSlice;
BuildOperator BuildConcat;
BuildOperator BuildSplit;
BuildOperator BuildExpand;
BuildOperator BuildTile;
BuildOperator BuildPad;
BuildOperator BuildResize;
BuildOperator BuildSpaceDepth;  // DepthToSpace, SpaceToDepth
BuildOperator BuildGather;
BuildOperator BuildLstm;
BuildOperator BuildGru;
// Of the host.
BuildOperator BuildArgExtremum;  // ArgMax, ArgMin
BuildOperator BuildTopK;
BuildOperator BuildCumSum;
BuildOperator BuildHostFunction;  // Sin, Cos, Tan, Round, Sign

}  // namespace nrtd::compiler
