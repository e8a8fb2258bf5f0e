// SPDX-License-Identifier: Apache-2.0
//
// Operators that look along whole axes.
#include <algorithm>
#include <cmath>

#include "compiler/operators/operator.h"

namespace nrtd::compiler {
namespace {

Result<sim::Reduction> ReductionOf(const OnnxNode& node) {
  constexpr std::pair<std::string_view, sim::Reduction> kReductions[] = {
      {"ReduceMax", sim::Reduction::kMaximum},
      {"ReduceMean", sim::Reduction::kMean},
      {"ReduceMin", sim::Reduction::kMinimum},
      {"ReduceProd", sim::Reduction::kProduct},
      {"ReduceSum", sim::Reduction::kSum}};
  for (const auto& [name, kind] : kReductions) {
    if (node.op_type == name) return kind;
  }
  return Fail(Nerr::kFail, "{} is no reduction", Describe(node));
}

}  // namespace

Result<void> BuildReduction(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const sim::Reduction kind, ReductionOf(node));
  NRTD_ASSIGN(const ValueId x, builder.FloatInput(node, 0));
  const Shape from = builder.at(x).shape;
  NRTD_ASSIGN(const auto axes, ListOf(node, "axes", 1, builder));
  const bool keep = node.Attribute<int64_t>("keepdims", 1) != 0;
  std::vector<bool> reduced(from.size(), axes.empty());
  if (axes.empty() && node.Attribute<int64_t>("noop_with_empty_axes", 0) != 0)
    reduced.assign(from.size(), false);
  for (int64_t axis : axes) {
    NRTD_ASSIGN(const size_t d, AxisOf(node, axis, from.size()));
    reduced[d] = true;
  }
  Shape kept;
  Shape to;
  for (size_t d = 0; d < from.size(); ++d) {
    kept.push_back(reduced[d] ? 1 : from[d]);
    if (keep || !reduced[d]) to.push_back(kept.back());
  }
  NRTD_ASSIGN(const ValueId output, builder.Output(node, DType::kFloat32, std::move(to)));
  builder.Append(node, Reduce{kind, std::move(kept)}, {x}, output);
  return {};
}

Result<void> BuildSoftmax(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.FloatInput(node, 0));
  const Shape shape = builder.at(x).shape;
  NRTD_ASSIGN(const ValueId output, builder.Output(node, DType::kFloat32, shape));
  // Before operator set 13 everything from the axis on was one dimension, and the axis was 1 if
  // absent. Since then it is a single axis, the last one if absent.
  const bool single = builder.opset() >= 13;
  NRTD_ASSIGN(const size_t begin,
              AxisOf(node, node.Attribute<int64_t>("axis", single ? -1 : 1), shape.size()));
  builder.Append(node, Softmax{begin, single ? begin + 1 : shape.size()}, {x}, output);
  return {};
}

// Over the last dimensions from the axis on.
Result<void> BuildLayerNormalization(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.FloatInput(node, 0));
  const Shape shape = builder.at(x).shape;
  NRTD_ASSIGN(const ValueId output, builder.Output(node, DType::kFloat32, shape));
  NRTD_ASSIGN(const size_t axis, AxisOf(node, node.Attribute<int64_t>("axis", -1), shape.size()));
  if (axis + 1 != shape.size()) {
    return Fail(Nerr::kInvalid, "{}: only the last dimension can be normalised, not {} on",
                Describe(node), axis);
  }
  std::vector<ValueId> inputs{x};
  for (size_t i = 1; i < 3 && node.HasInput(i); ++i) {
    NRTD_ASSIGN(const ValueId id, builder.FloatInput(node, i));
    if (builder.at(id).Elements() != static_cast<uint64_t>(shape.back())) {
      return Fail(Nerr::kInvalid, "{}: '{}' of shape {} does not fit {}", Describe(node),
                  builder.at(id).name, ShapeText(builder.at(id).shape), ShapeText(shape));
    }
    inputs.push_back(id);
  }
  builder.Append(node, LayerNorm{node.Attribute<float>("epsilon", 1e-5F)}, std::move(inputs),
                 output);
  return {};
}

// x times a factor and plus an addend a channel, which the passes join with a convolution before.
Result<void> BuildBatchNormalization(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.FloatInput(node, 0));
  const Shape shape = builder.at(x).shape;
  if (shape.size() < 2)
    return Fail(Nerr::kInvalid, "{}: shape {} has no channels", Describe(node), ShapeText(shape));
  if (node.Attribute<int64_t>("training_mode", 0) != 0)
    return Fail(Nerr::kInvalid, "{}: training_mode is not supported; export for inference",
                Describe(node));
  std::vector<std::vector<float>> statistics;  // scale, bias, mean, variance
  for (size_t i = 1; i < 5; ++i) {
    NRTD_ASSIGN(const ValueId id, builder.FloatInput(node, i));
    const Value& value = builder.at(id);
    if (!value.IsConstant() || value.Elements() != static_cast<uint64_t>(shape[1])) {
      return Fail(Nerr::kInvalid, "{}: '{}' is not a constant of {} channels", Describe(node),
                  value.name, shape[1]);
    }
    statistics.push_back(FloatsOf(value));
  }
  const auto epsilon = double{node.Attribute<float>("epsilon", 1e-5F)};
  std::vector<float> factors;
  std::vector<float> addends;
  for (size_t c = 0; c < statistics[0].size(); ++c) {
    const double factor = statistics[0][c] / std::sqrt(statistics[3][c] + epsilon);
    factors.push_back(static_cast<float>(factor));
    addends.push_back(static_cast<float>(statistics[1][c] - statistics[2][c] * factor));
  }
  NRTD_ASSIGN(const ValueId output, builder.Output(node, DType::kFloat32, shape));
  Shape channels(shape.size() - 1, 1);
  channels[0] = shape[1];
  const ValueId factor = builder.Constant(node, "factor", channels, factors);
  const ValueId addend = builder.Constant(node, "addend", channels, addends);
  const ValueId scaled = builder.Between(node, "scaled", shape);
  builder.Append(node, Binary{sim::BinaryFunction::kMultiply}, {x, factor}, scaled);
  builder.Append(node, Binary{sim::BinaryFunction::kAdd}, {scaled, addend}, output);
  return {};
}

}  // namespace nrtd::compiler
