// SPDX-License-Identifier: Apache-2.0
//
// The compiler's picture of a network between import and lowering: values and the nodes that make
// them, with the differences between ONNX's operator versions already gone.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/dtype.h"
#include "base/error.h"
#include "driver_shim/sim/isa.h"

namespace nrtd::compiler {

using ValueId = uint32_t;  // index into Graph::values

struct Value {
  std::string name;  // ONNX's; unique among inputs, outputs and constants
  DType dtype = DType::kFloat32;
  Shape shape;                     // static, every dimension >= 1; [] is a scalar
  std::optional<ByteVector> data;  // of a constant: row-major elements

  bool IsConstant() const { return data.has_value(); }
  uint64_t Elements() const { return ElementCount(shape).value_or(0); }
  uint64_t Bytes() const { return Elements() * DTypeSize(dtype); }
};

// Inputs x [N,C,spatial...], weights [O,C/groups,kernel...], and, if there is a third, bias [O].
// One or two spatial dimensions; one counts as the second here, the first is then 1.
struct Conv {
  std::array<int64_t, 2> strides{1, 1};
  std::array<int64_t, 2> dilations{1, 1};
  std::array<int64_t, 4> pads{0, 0, 0, 0};  // top, left, bottom, right
  int64_t groups = 1;
};

// Inputs a, b, and, if there is a third, a bias that numpy's rules repeat to the output's shape.
// Ranks as numpy.matmul takes them; transposing is for matrices only.
struct MatMul {
  bool transpose_a = false;
  bool transpose_b = false;
};

// Input x; element by element.
struct Activation {
  sim::Function function = sim::Function::kRelu;
  float alpha = 0;
  float beta = 0;
};

// Input x; the exponentials over the dimensions [begin, end) together sum to 1. end > begin.
struct Softmax {
  size_t begin = 0;
  size_t end = 1;
};

// Input x [N,C,spatial...]; spatial dimensions as in Conv.
struct Pool {
  sim::PoolKind kind = sim::PoolKind::kMax;
  std::array<int64_t, 2> kernel{1, 1};
  std::array<int64_t, 2> strides{1, 1};
  std::array<int64_t, 4> pads{0, 0, 0, 0};
};

// Inputs a and b, which numpy's rules repeat to the output's shape.
struct Binary {
  sim::BinaryFunction function = sim::BinaryFunction::kAdd;
};

// Input x; the same elements under another shape.
struct Reshape {};

using Operation = std::variant<Conv, MatMul, Activation, Softmax, Pool, Binary, Reshape>;

struct Node {
  std::string name;  // for people: "Conv 'conv1'"
  Operation operation;
  std::vector<ValueId> inputs;
  ValueId output = 0;
};

struct Graph {
  std::string name;
  std::vector<Value> values;
  std::vector<Node> nodes;       // each after those that make its inputs
  std::vector<ValueId> inputs;   // in ONNX's order; also those that no node uses
  std::vector<ValueId> outputs;  // may be inputs' or constants' values

  const Value& at(ValueId id) const { return values[id]; }
  ValueId Add(Value value);

  // How often each value is read, by nodes and as an output of the graph.
  std::vector<uint32_t> UseCounts() const;

  // The index of the node that makes each value, kNoNode for inputs and constants.
  static constexpr size_t kNoNode = std::numeric_limits<size_t>::max();
  std::vector<size_t> Producers() const;

  // kFail, because it is the compiler's mistake: ids out of range, a value made twice or read
  // before it is made, a constant whose size is not its shape's.
  Result<void> Check() const;
};

// A constant's elements; the value is a constant of float32.
std::vector<float> FloatsOf(const Value& constant);
ByteVector BytesOf(const std::vector<float>& floats);

// Do numpy's rules repeat `from` to exactly `to`?
bool RepeatsTo(const Shape& from, const Shape& to);

}  // namespace nrtd::compiler
