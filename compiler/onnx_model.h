// SPDX-License-Identifier: Apache-2.0
//
// An ONNX model as plain values: what onnx_import.cc takes out of the protobuf, so that nothing
// behind it sees ONNX's headers. Checked, with Constant nodes turned into initializers and the
// types of all tensors inferred.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/dtype.h"

namespace nrtd::compiler {

struct OnnxTensorType {
  DType dtype = DType::kFloat32;
  Shape shape;  // static
};

struct OnnxTensor {
  OnnxTensorType type;
  ByteVector data;
};

// A list of texts is one text, separated by commas.
using OnnxAttribute =
    std::variant<int64_t, float, std::string, std::vector<int64_t>, std::vector<float>, OnnxTensor>;

struct OnnxNode {
  std::string op_type;
  std::string name;                  // the node's, or of its first output if it has none
  std::vector<std::string> inputs;   // "" for an optional input that is absent
  std::vector<std::string> outputs;  // "" for an optional output that is absent
  std::map<std::string, OnnxAttribute> attributes;

  // The attribute if it is there and of this type.
  template <typename T>
  T Attribute(const std::string& key, T otherwise) const {
    const auto found = attributes.find(key);
    if (found == attributes.end()) return otherwise;
    const T* value = std::get_if<T>(&found->second);
    return value != nullptr ? *value : otherwise;
  }
  bool HasInput(size_t i) const { return i < inputs.size() && !inputs[i].empty(); }
  bool HasOutput(size_t i) const { return i < outputs.size() && !outputs[i].empty(); }
};

struct OnnxModel {
  std::string graph_name;
  int64_t opset = 0;                 // of the domain ai.onnx
  std::vector<OnnxNode> nodes;       // in an order in which they can run
  std::vector<std::string> inputs;   // without those that are initializers
  std::vector<std::string> outputs;  // unique
  std::map<std::string, OnnxTensor> initializers;
  // Of inputs, outputs and what nodes make; tensors whose shape cannot be told are absent.
  std::map<std::string, OnnxTensorType> types;
};

}  // namespace nrtd::compiler
