// SPDX-License-Identifier: Apache-2.0
#include "compiler/ir.h"

namespace nrtd::compiler {

ValueId Graph::Add(Value value) {
  values.push_back(std::move(value));
  return static_cast<ValueId>(values.size() - 1);
}

std::vector<uint32_t> Graph::UseCounts() const {
  std::vector<uint32_t> uses(values.size(), 0);
  for (const Node& node : nodes) {
    for (ValueId input : node.inputs) ++uses[input];
  }
  for (ValueId output : outputs) ++uses[output];
  return uses;
}

std::vector<size_t> Graph::Producers() const {
  std::vector<size_t> producers(values.size(), kNoNode);
  for (size_t i = 0; i < nodes.size(); ++i) producers[nodes[i].output] = i;
  return producers;
}

Result<void> Graph::Check() const {
  std::vector<bool> made(values.size(), false);
  const auto make = [&](ValueId id, std::string_view what) -> Result<void> {
    if (id >= values.size()) return Fail(Nerr::kFail, "{} is the unknown value {}", what, id);
    if (made[id]) return Fail(Nerr::kFail, "{} '{}' is made twice", what, values[id].name);
    made[id] = true;
    return {};
  };
  for (ValueId input : inputs) {
    NRTD_TRY(make(input, "input"));
  }
  for (ValueId id = 0; id < values.size(); ++id) {
    if (!values[id].IsConstant()) continue;
    NRTD_TRY(make(id, "constant"));
    if (values[id].data->size() != values[id].Bytes()) {
      return Fail(Nerr::kFail, "constant '{}' of shape {} has {} bytes", values[id].name,
                  ShapeText(values[id].shape), values[id].data->size());
    }
  }
  for (const Node& node : nodes) {
    for (ValueId input : node.inputs) {
      if (input >= values.size() || !made[input])
        return Fail(Nerr::kFail, "{} reads value {}, which is not made before it", node.name,
                    input);
    }
    NRTD_TRY(make(node.output, node.name));
  }
  for (ValueId output : outputs) {
    if (output >= values.size() || !made[output])
      return Fail(Nerr::kFail, "nothing makes the output value {}", output);
  }
  return {};
}

bool IsSameCall(const Node& a, const Node& b) {
  const auto* left = std::get_if<HostCall>(&a.operation);
  const auto* right = std::get_if<HostCall>(&b.operation);
  return left != nullptr && right != nullptr && left->call == right->call &&
         left->function == right->function && a.inputs == b.inputs;
}

std::vector<float> FloatsOf(const Value& constant) {
  std::vector<float> floats(constant.data->size() / sizeof(float));
  if (!floats.empty())
    std::memcpy(floats.data(), constant.data->data(), floats.size() * sizeof(float));
  return floats;
}

ByteVector BytesOf(const std::vector<float>& floats) {
  ByteVector bytes(floats.size() * sizeof(float));
  if (!bytes.empty()) std::memcpy(bytes.data(), floats.data(), bytes.size());
  return bytes;
}

uint64_t MacsOf(const Graph& graph, const Node& node) {
  const uint64_t outputs = graph.at(node.output).Elements();
  if (std::holds_alternative<Conv>(node.operation)) {
    const Value& weights = graph.at(node.inputs[1]);
    return outputs * (weights.Elements() / static_cast<uint64_t>(weights.shape[0]));
  }
  if (const auto* product = std::get_if<MatMul>(&node.operation)) {
    const Shape& a = product->view_a ? product->view_a->dims : graph.at(node.inputs[0]).shape;
    const auto depth = product->transpose_a && a.size() > 1 ? a[a.size() - 2] : a.back();
    return outputs * static_cast<uint64_t>(depth);
  }
  return 0;
}

Shape DenseStrides(const Shape& shape) {
  Shape strides(shape.size());
  int64_t stride = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    strides[d] = stride;
    stride *= shape[d];
  }
  return strides;
}

std::optional<Shape> BroadcastShape(const Shape& a, const Shape& b) {
  Shape result = a.size() >= b.size() ? a : b;
  const Shape& shorter = a.size() >= b.size() ? b : a;
  const size_t missing = result.size() - shorter.size();
  for (size_t d = 0; d < shorter.size(); ++d) {
    int64_t& dimension = result[missing + d];
    if (dimension == 1) dimension = shorter[d];
    if (shorter[d] != 1 && shorter[d] != dimension) return std::nullopt;
  }
  return result;
}

std::optional<float> ScalarOf(const Value& value) {
  if (!value.IsConstant() || value.dtype != DType::kFloat32 || value.Elements() != 1)
    return std::nullopt;
  return LoadAt<float>(*value.data, 0);
}

bool RepeatsTo(const Shape& from, const Shape& to) {
  if (from.size() > to.size()) return false;
  const size_t missing = to.size() - from.size();
  for (size_t d = 0; d < from.size(); ++d) {
    if (from[d] != 1 && from[d] != to[missing + d]) return false;
  }
  return true;
}

}  // namespace nrtd::compiler
