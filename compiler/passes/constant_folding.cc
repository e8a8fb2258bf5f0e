// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "compiler/passes/passes.h"

namespace nrtd::compiler {
namespace {

using MaybeData = std::optional<ByteVector>;

// Larger results would bloat the NEFF; the core computes them in no time.
constexpr uint64_t kMaxFoldedGrowth = 1 * 1024 * 1024;

// The index of the element of `from`, repeated to `to`, that stands at `position` in `to`.
class RepeatedIndex {
 public:
  RepeatedIndex(const Shape& from, const Shape& to) : strides_(to.size(), 0), to_(to) {
    int64_t stride = 1;
    for (size_t d = from.size(); d-- > 0;) {
      if (from[d] != 1) strides_[to.size() - from.size() + d] = stride;
      stride *= from[d];
    }
  }
  size_t operator()(size_t position) const {
    size_t index = 0;
    for (size_t d = to_.size(); d-- > 0;) {
      const auto extent = static_cast<size_t>(to_[d]);
      index += (position % extent) * static_cast<size_t>(strides_[d]);
      position /= extent;
    }
    return index;
  }

 private:
  std::vector<int64_t> strides_;
  const Shape& to_;
};

std::optional<float> Apply(sim::BinaryFunction function, float a, float b) {
  switch (function) {
    case sim::BinaryFunction::kAdd:
      return a + b;
    case sim::BinaryFunction::kSubtract:
      return a - b;
    case sim::BinaryFunction::kMultiply:
      return a * b;
    case sim::BinaryFunction::kDivide:
      return a / b;
    case sim::BinaryFunction::kMaximum:
      return std::max(a, b);
    case sim::BinaryFunction::kMinimum:
      return std::min(a, b);
  }
  return std::nullopt;
}

std::optional<float> Apply(const Activation& activation, float x) {
  switch (activation.function) {
    case sim::Function::kRelu:
      return std::max(x, 0.0F);
    case sim::Function::kLinear:
      return activation.alpha * x + activation.beta;
    case sim::Function::kAbs:
      return std::fabs(x);
    default:
      return std::nullopt;
  }
}

MaybeData Evaluate(const Graph& graph, const Node& node, const Binary& binary) {
  const Value& a = graph.at(node.inputs[0]);
  const Value& b = graph.at(node.inputs[1]);
  const Value& to = graph.at(node.output);
  if (to.Bytes() > a.Bytes() + b.Bytes() + kMaxFoldedGrowth) return std::nullopt;
  const std::vector<float> left = FloatsOf(a);
  const std::vector<float> right = FloatsOf(b);
  const RepeatedIndex left_index(a.shape, to.shape);
  const RepeatedIndex right_index(b.shape, to.shape);
  std::vector<float> result(to.Elements());
  for (size_t i = 0; i < result.size(); ++i) {
    const auto value = Apply(binary.function, left[left_index(i)], right[right_index(i)]);
    if (!value) return std::nullopt;
    result[i] = *value;
  }
  return BytesOf(result);
}

MaybeData Evaluate(const Graph& graph, const Node& node, const Activation& activation) {
  std::vector<float> values = FloatsOf(graph.at(node.inputs[0]));
  for (float& value : values) {
    const auto result = Apply(activation, value);
    if (!result) return std::nullopt;
    value = *result;
  }
  return BytesOf(values);
}

MaybeData Evaluate(const Graph& graph, const Node& node, const Reshape&) {
  return graph.at(node.inputs[0]).data;
}

template <typename Other>
MaybeData Evaluate(const Graph&, const Node&, const Other&) {
  return std::nullopt;
}

}  // namespace

void FoldConstants(Graph& graph) {
  std::erase_if(graph.nodes, [&](const Node& node) {
    const bool constant = std::all_of(node.inputs.begin(), node.inputs.end(),
                                      [&](ValueId id) { return graph.at(id).IsConstant(); });
    if (!constant) return false;
    graph.values[node.output].data =
        std::visit([&](const auto& op) { return Evaluate(graph, node, op); }, node.operation);
    return graph.at(node.output).IsConstant();
  });
}

}  // namespace nrtd::compiler
