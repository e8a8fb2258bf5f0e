// SPDX-License-Identifier: Apache-2.0
//
// The compiler's picture of a network between import and lowering: values and the nodes that make
// them, with the differences between ONNX's operator versions already gone.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <map>
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
  // Static, every dimension >= 1, at most sim::kMaxElements elements; [] is a scalar.
  Shape shape;
  std::optional<ByteVector> data;  // of a constant: row-major elements

  bool IsConstant() const { return data.has_value(); }
  uint64_t Elements() const { return ElementCount(shape).value_or(0); }
  uint64_t Bytes() const { return Elements() * DTypeSize(dtype); }
};

// Inputs x [N,C,spatial...], weights [O,C/groups,kernel...], and, if there is a third, bias [O].
// One or two spatial dimensions; one counts as the second here, the first is then 1. With
// channels_last x and the output are [N,H,W,C].
struct Conv {
  std::array<int64_t, 2> strides{1, 1};
  std::array<int64_t, 2> dilations{1, 1};
  std::array<int64_t, 4> pads{0, 0, 0, 0};  // top, left, bottom, right
  int64_t groups = 1;
  std::optional<sim::Fused> fused = {};
  bool channels_last = false;
  sim::Precision precision = sim::Precision::kFloat32;  // of what is multiplied
};

// A strided part of a value's dense elements, under the dimensions that an operation sees.
struct StridedView {
  Shape dims;
  Shape strides;       // in elements
  int64_t offset = 0;  // elements before the first
};

// Inputs a, b, and, if there is a third, a bias that numpy's rules repeat to the output's shape.
// Ranks as numpy.matmul takes them; transposing is for matrices only. Where there is a view, it is
// what the operation multiplies instead of the whole value, or where it writes; then there is no
// bias and no transposing, and the views' and the other values' ranks are equal.
struct MatMul {
  bool transpose_a = false;
  bool transpose_b = false;
  std::optional<sim::Fused> fused = {};
  std::optional<StridedView> view_a = {};
  std::optional<StridedView> view_b = {};
  std::optional<StridedView> view_c = {};
  sim::Precision precision = sim::Precision::kFloat32;
  bool exact = false;  // stays in float32: not the model's product, but how something else is done
};

// Input x; element by element.
struct Activation {
  sim::Function function = sim::Function::kRelu;
  float alpha = 0;
  float beta = 0;
};

// Input x; the exponentials of scale x over the dimensions [begin, end) together sum to 1.
// end > begin. If there is a second input, a mask that numpy's rules repeat to x's shape, it is
// added before, and the last dimension is the one.
struct Softmax {
  size_t begin = 0;
  size_t end = 1;
  float scale = 1;
};

// Inputs x and, if they are there, scale and then bias, both [x's last dimension]: over that, minus
// the mean, by the root of variance + epsilon.
struct LayerNorm {
  float epsilon = 0;
};

// Input x [N,C,spatial...]; spatial dimensions and channels_last as in Conv.
struct Pool {
  sim::PoolKind kind = sim::PoolKind::kMax;
  std::array<int64_t, 2> kernel{1, 1};
  std::array<int64_t, 2> strides{1, 1};
  std::array<int64_t, 4> pads{0, 0, 0, 0};
  bool channels_last = false;
};

// Inputs a and b, which numpy's rules repeat to the output's shape. All of one type: float32, int32
// or int64.
struct Binary {
  sim::BinaryFunction function = sim::BinaryFunction::kAdd;
  std::optional<sim::Fused> fused = {};  // of float32 only
};

// Inputs a and b of one type, repeated likewise; the output is bool.
struct Compare {
  sim::Comparison comparison = sim::Comparison::kEqual;
};

// Inputs condition (bool), a and b, repeated likewise.
struct Select {};

// Input x; the same elements under another shape.
struct Reshape {};

// Input x; the same elements in the output's type.
struct Cast {};

// Inputs of the output's type: parts of them stand in the output, the later ones over the earlier
// ones; together they fill it. Transposes, slices, concatenation, repetition, padding.
struct Rearrange {
  struct Part {
    size_t input = 0;
    Shape dims;
    int64_t from = 0;  // element of the input, which is dense
    Shape from_strides;
    int64_t to = 0;  // element of the output
    Shape to_strides;
  };
  std::vector<Part> parts;
};

// Inputs table and indices (int32 or int64): the table's entries along `axis` that the indices
// name, under the dimensions of the indices.
struct Gather {
  size_t axis = 0;
};

// Input x: the reduction over the dimensions in which `kept` has 1 and x has more. The output may
// have the dimensions of `kept` or lack those.
struct Reduce {
  sim::Reduction kind = sim::Reduction::kMean;
  Shape kept;
};

// What no engine has: a result of a function of the host's CPUs (docs/host-nodes.md), inputs as
// that wants them. The results of one call are nodes with the same `call`, which no other has.
struct HostCall {
  std::string function;
  std::map<std::string, std::string> attributes;
  size_t call = 0;
  size_t result = 0;
};

using Operation = std::variant<Conv, MatMul, Activation, Softmax, LayerNorm, Pool, Binary, Compare,
                               Select, Reshape, Cast, Rearrange, Gather, Reduce, HostCall>;

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

// Are both results of one call of the host?
bool IsSameCall(const Node& a, const Node& b);

// A constant's elements; the value is a constant of float32.
std::vector<float> FloatsOf(const Value& constant);
ByteVector BytesOf(const std::vector<float>& floats);

// Multiplications of a product or a convolution; 0 of others.
uint64_t MacsOf(const Graph& graph, const Node& node);

// The strides of dense elements.
Shape DenseStrides(const Shape& shape);
// What numpy's rules make of two shapes, or nothing.
std::optional<Shape> BroadcastShape(const Shape& a, const Shape& b);

// The one element of a constant of float32 that has no more.
std::optional<float> ScalarOf(const Value& value);

// Do numpy's rules repeat `from` to exactly `to`?
bool RepeatsTo(const Shape& from, const Shape& to);

}  // namespace nrtd::compiler
