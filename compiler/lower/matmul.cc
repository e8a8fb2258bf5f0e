// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "compiler/lower/lower.h"
#include "compiler/lower/views.h"

namespace nrtd::compiler {
namespace {

// All operands' dimensions with one rank: leading ones, then the matrix.
struct Products {
  Shape a, b, c;
  std::optional<Shape> bias;
};

// numpy.matmul's rules: a vector on the left is a row, on the right a column, and the result lacks
// that dimension.
Products Align(const Shape& a, const Shape& b, const Shape& c, const Shape* bias) {
  Products p{a, b, c, std::nullopt};
  if (bias != nullptr) p.bias = PadRank(*bias, c.size());
  const auto insert = [&](size_t from_end) {
    p.c.insert(p.c.end() - static_cast<std::ptrdiff_t>(from_end), 1);
    if (p.bias) p.bias->insert(p.bias->end() - static_cast<std::ptrdiff_t>(from_end), 1);
  };
  if (b.size() == 1) {
    p.b = {b[0], 1};
    insert(0);
  }
  if (a.size() == 1) {
    p.a = {1, a[0]};
    insert(1);
  }
  const size_t rank = p.c.size();
  p.a = PadRank(p.a, rank);
  p.b = PadRank(p.b, rank);
  return p;
}

bool IsOne(const Shape& shape, size_t dimensions) {
  return std::all_of(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(dimensions),
                     [](int64_t d) { return d == 1; });
}

Shape WithMatrix(Shape leading, const Shape& from) {
  leading.insert(leading.end(), from.end() - 2, from.end());
  return leading;
}

// One large matrix instead of many small ones, where b is the same for all: rows follow each other.
bool JoinRows(Products& p) {
  const size_t rank = p.c.size();
  if (!IsOne(p.b, rank - 2)) return false;
  if (p.bias && *p.bias != p.c && !IsOne(*p.bias, rank - 1)) return false;
  const auto rows = [](const Shape& s) {
    return Shape{Product(std::span(s).first(s.size() - 1)), s.back()};
  };
  p = {rows(p.a),
       {p.b[rank - 2], p.b[rank - 1]},
       rows(p.c),
       p.bias ? std::optional(rows(*p.bias)) : std::nullopt};
  return true;
}

void JoinLeading(Products& p) {
  const auto leading = [](const Shape& s) { return Shape(s.begin(), s.end() - 2); };
  std::vector<Shape> parts{leading(p.a), leading(p.b)};
  if (p.bias) parts.push_back(leading(*p.bias));
  Joined joined = JoinDimensions(leading(p.c), parts);
  p.a = WithMatrix(std::move(joined.parts[0]), p.a);
  p.b = WithMatrix(std::move(joined.parts[1]), p.b);
  p.c = WithMatrix(std::move(joined.full), p.c);
  if (p.bias) p.bias = WithMatrix(std::move(joined.parts[2]), *p.bias);
}

sim::Operand Transposed(sim::Operand matrix) {
  const size_t rank = matrix.dims.size();
  std::swap(matrix.dims[rank - 2], matrix.dims[rank - 1]);
  std::swap(matrix.strides[rank - 2], matrix.strides[rank - 1]);
  return matrix;
}

// Dimensions of 1 in front of a view are free.
StridedView WithRank(StridedView view, size_t rank) {
  const size_t missing = rank - std::min(rank, view.dims.size());
  view.dims.insert(view.dims.begin(), missing, 1);
  view.strides.insert(view.strides.begin(), missing, 0);
  return view;
}

Result<void> LowerViews(const Node& node, const MatMul& product, LowerContext& context) {
  const auto whole = [&](ValueId id) {
    const Shape& shape = context.at(id).shape;
    return StridedView{shape, DenseStrides(shape), 0};
  };
  const StridedView c = product.view_c.value_or(whole(node.output));
  const size_t rank = c.dims.size();
  if (rank > sim::kMaxRank)
    return Fail(Nerr::kInvalid, "needs {} dimensions, the core has {}", rank, sim::kMaxRank);
  const StridedView a = WithRank(product.view_a.value_or(whole(node.inputs[0])), rank);
  sim::Operand b =
      context.WeightView(node.inputs[1], context.at(node.inputs[1]).shape, product.precision);
  const StridedView view_b = WithRank(product.view_b.value_or(whole(node.inputs[1])), rank);
  b.dims = view_b.dims;
  b.strides = view_b.strides;
  b.offset += static_cast<uint64_t>(view_b.offset) * DTypeSize(b.dtype);
  context.Append(node, sim::Engine::kPe,
                 sim::MatMul{context.View(node.inputs[0], a), std::move(b), std::nullopt,
                             context.View(node.output, c), product.precision, product.fused});
  return {};
}

}  // namespace

Result<void> Lower(const Node& node, const MatMul& product, LowerContext& context) {
  if (product.view_a || product.view_b || product.view_c) return LowerViews(node, product, context);
  const bool has_bias = node.inputs.size() == 3;
  Products p =
      Align(context.at(node.inputs[0]).shape, context.at(node.inputs[1]).shape,
            context.at(node.output).shape, has_bias ? &context.at(node.inputs[2]).shape : nullptr);
  // A transposed a is a matrix anyway (Gemm), and its rows do not follow each other.
  const bool joined = !product.transpose_a && JoinRows(p);
  if (!joined && p.c.size() > 2) JoinLeading(p);
  if (p.c.size() > sim::kMaxRank) {
    return Fail(Nerr::kInvalid, "needs {} dimensions, the core has {}", p.c.size(), sim::kMaxRank);
  }
  sim::MatMul instruction{context.View(node.inputs[0], p.a),
                          context.WeightView(node.inputs[1], p.b, product.precision),
                          std::nullopt,
                          context.View(node.output, p.c),
                          product.precision,
                          product.fused};
  if (product.transpose_a) instruction.a = Transposed(std::move(instruction.a));
  if (product.transpose_b) instruction.b = Transposed(std::move(instruction.b));
  if (p.bias) instruction.bias = context.View(node.inputs[2], *p.bias);
  context.Append(node, sim::Engine::kPe, std::move(instruction));
  return {};
}

}  // namespace nrtd::compiler
