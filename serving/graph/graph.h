// SPDX-License-Identifier: Apache-2.0
//
// A SavedModel as the model server runs it: host operations around NeuronOps.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "serving/tensor/tensor.h"

namespace nrtd::serving {

// An output of a node.
struct Port {
  uint32_t node = 0;  // index in Graph::nodes
  uint32_t output = 0;
  bool operator==(const Port&) const = default;
};

// A tensor as a graph declares it.
struct TensorSpec {
  DType dtype = DType::kFloat32;
  Shape shape;                // -1: any
  bool unknown_rank = false;  // then `shape` says nothing
};

// The host operations, with what their attributes say. Inputs are Node::inputs.
namespace op {

struct Placeholder {  // of its input, if it has one and is not fed
  TensorSpec spec;
};
struct Const {
  Tensor value;
};
struct Identity {};  // of as many inputs as it has outputs
struct Cast {
  DType to;
};
struct Reshape {};  // data, shape
struct Softmax {};  // over the last dimension
struct ArgMax {     // data, dimension
  DType output;
};
struct Squeeze {
  std::vector<int64_t> axes;  // none: every dimension of 1
};
struct ExpandDims {};  // data, axis
struct Pack {
  int64_t axis;
};
struct StridedSlice {  // data, begin, end, strides
  int64_t begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask;
};
struct ShapeOf {
  DType output;
};
struct Concat {};     // values..., axis
struct Transpose {};  // data, permutation

// A compiled network. Dimension `batch_axis` of a tensor, if it is not negative, is the batch.
struct NeuronTensor {
  std::string name;  // in the NEFF
  DType dtype = DType::kFloat32;
  Shape shape;  // for the first executable
  int64_t batch_axis = -1;
};
// The network compiled for one size of the batch.
struct Executable {
  int64_t batch = 0;                        // 0: no tensor has a batch axis
  std::shared_ptr<const std::string> neff;  // its content
};
struct Neuron {
  std::vector<NeuronTensor> inputs;
  std::vector<NeuronTensor> outputs;
  std::vector<Executable> executables;  // at least one; each of another size
  std::vector<int64_t> model_config;
  uint32_t number = 0;  // among the graph's NeuronOps, from 0
};

// The attributes of a NeuronOp for its further executables: their content, and the shapes of all
// inputs (outputs) of the first of them, then of the second, ...
inline constexpr const char* kVariantExecutables = "_variant_executables";
inline constexpr const char* kVariantInputShapes = "_variant_input_shapes";
inline constexpr const char* kVariantOutputShapes = "_variant_output_shapes";

}  // namespace op

using Operation =
    std::variant<op::Placeholder, op::Const, op::Identity, op::Cast, op::Reshape, op::Softmax,
                 op::ArgMax, op::Squeeze, op::ExpandDims, op::Pack, op::StridedSlice, op::ShapeOf,
                 op::Concat, op::Transpose, op::Neuron>;

struct Node {
  std::string name;
  Operation operation;
  std::vector<Port> inputs;
};

// What a signature calls a tensor.
struct SignatureTensor {
  Port port;
  TensorSpec spec;
};
struct Signature {
  std::string method;  // "tensorflow/serving/predict"
  std::map<std::string, SignatureTensor> inputs;
  std::map<std::string, SignatureTensor> outputs;
};
// The signature of requests that name none, and of SavedModels that neuron-cc writes.
inline constexpr const char* kDefaultSignature = "serving_default";
std::vector<std::string> OutputNames(const Signature& signature);

struct Graph {
  std::vector<Node> nodes;  // inputs come from earlier ones
  std::map<std::string, Signature> signatures;
  std::vector<uint32_t> neuron_ops;  // nodes, by op::Neuron::number
};

}  // namespace nrtd::serving
