// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "compiler/operators/operator.h"

namespace nrtd::compiler {
namespace {

Activation Scale(float factor) {
  return {sim::Function::kLinear, factor, 0};
}

// What must agree: the inner dimensions, and the leading ones up to repetition. Shape inference has
// made the output from them, but does not check all.
Result<void> CheckInner(const OnnxNode& node, const Shape& a, const Shape& b, int64_t inner_a,
                        int64_t inner_b) {
  if (inner_a == inner_b) return {};
  return Fail(Nerr::kInvalid, "{}: shapes {} and {} do not fit: inner dimensions {} and {}",
              Describe(node), ShapeText(a), ShapeText(b), inner_a, inner_b);
}

}  // namespace

Result<void> BuildMatMul(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId a, builder.FloatInput(node, 0));
  NRTD_ASSIGN(const ValueId b, builder.FloatInput(node, 1));
  const Shape left = builder.at(a).shape;
  const Shape right = builder.at(b).shape;
  if (left.empty() || right.empty())
    return Fail(Nerr::kInvalid, "{}: a scalar is no matrix", Describe(node));
  NRTD_TRY(CheckInner(node, left, right, left.back(),
                      right.size() == 1 ? right[0] : right[right.size() - 2]));
  // A vector's missing dimension is missing in the result, too.
  const auto leading = [](const Shape& s) {
    return Shape(s.begin(), s.end() - static_cast<std::ptrdiff_t>(std::min<size_t>(s.size(), 2)));
  };
  auto shape = BroadcastShape(leading(left), leading(right));
  if (!shape) {
    return Fail(Nerr::kInvalid, "{}: shapes {} and {} do not fit", Describe(node), ShapeText(left),
                ShapeText(right));
  }
  if (left.size() > 1) shape->push_back(left[left.size() - 2]);
  if (right.size() > 1) shape->push_back(right.back());
  NRTD_ASSIGN(const ValueId output, builder.Output(node, DType::kFloat32, std::move(*shape)));
  builder.Append(node, MatMul{}, {a, b}, output);
  return {};
}

// alpha A B + beta C becomes a product of scaled weights and an addition, which the passes join.
Result<void> BuildGemm(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId a, builder.FloatInput(node, 0));
  NRTD_ASSIGN(ValueId b, builder.FloatInput(node, 1));
  const float alpha = node.Attribute<float>("alpha", 1);
  const float beta = node.Attribute<float>("beta", 1);
  MatMul product;
  product.transpose_a = node.Attribute<int64_t>("transA", 0) != 0;
  product.transpose_b = node.Attribute<int64_t>("transB", 0) != 0;
  const Shape left = builder.at(a).shape;
  const Shape right = builder.at(b).shape;
  if (left.size() != 2 || right.size() != 2) {
    return Fail(Nerr::kInvalid, "{}: {} and {} are not two matrices", Describe(node),
                ShapeText(left), ShapeText(right));
  }
  NRTD_TRY(CheckInner(node, left, right, left[product.transpose_a ? 0 : 1],
                      right[product.transpose_b ? 1 : 0]));
  const Shape shape{left[product.transpose_a ? 1 : 0], right[product.transpose_b ? 0 : 1]};
  NRTD_ASSIGN(const ValueId output, builder.Output(node, DType::kFloat32, shape));

  const bool scale_weights = alpha != 1 && builder.at(b).IsConstant();
  const bool scale_product = alpha != 1 && !scale_weights;
  const bool add = node.HasInput(2) && beta != 0;
  if (scale_weights) {
    const ValueId scaled = builder.Between(node, "weights", right);
    builder.Append(node, Scale(alpha), {b}, scaled);
    b = scaled;
  }
  ValueId last = scale_product || add ? builder.Between(node, "product", shape) : output;
  builder.Append(node, product, {a, b}, last);
  if (scale_product) {
    const ValueId scaled = add ? builder.Between(node, "scaled", shape) : output;
    builder.Append(node, Scale(alpha), {last}, scaled);
    last = scaled;
  }
  if (!add) return {};
  NRTD_ASSIGN(ValueId c, builder.FloatInput(node, 2));
  if (!RepeatsTo(builder.at(c).shape, shape)) {
    return Fail(Nerr::kInvalid, "{}: C of shape {} does not repeat to {}", Describe(node),
                ShapeText(builder.at(c).shape), ShapeText(shape));
  }
  if (beta != 1) {
    const ValueId scaled = builder.Between(node, "bias", builder.at(c).shape);
    builder.Append(node, Scale(beta), {c}, scaled);
    c = scaled;
  }
  builder.Append(node, Binary{sim::BinaryFunction::kAdd}, {last, c}, output);
  return {};
}

}  // namespace nrtd::compiler
