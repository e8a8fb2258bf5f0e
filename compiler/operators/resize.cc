// SPDX-License-Identifier: Apache-2.0
//
// Resize. Nearest neighbours by whole factors are elements again and again; everything else is a
// product with a constant matrix along each axis that changes: one 1 in a row for the nearest, the
// weights of both neighbours for linear.
#include <algorithm>
#include <cmath>
#include <functional>

#include "compiler/operators/operator.h"

namespace nrtd::compiler {
namespace {

struct Form {
  std::string mode;
  std::string place;     // coordinate_transformation_mode
  std::string rounding;  // nearest_mode
};

// Where element `at` of `to` lies among `from`.
using Place = std::function<double(double at, double from, double to, double scale)>;

Result<Place> PlaceOf(const OnnxNode& node, const Form& form) {
  if (form.place == "asymmetric")
    return Place([](double at, double, double, double scale) { return at / scale; });
  if (form.place == "half_pixel")
    return Place([](double at, double, double, double scale) { return (at + 0.5) / scale - 0.5; });
  if (form.place == "pytorch_half_pixel") {
    return Place([](double at, double, double to, double scale) {
      return to > 1 ? (at + 0.5) / scale - 0.5 : 0.0;
    });
  }
  if (form.place == "align_corners") {
    return Place([](double at, double from, double to, double) {
      return to > 1 ? at * (from - 1) / (to - 1) : 0.0;
    });
  }
  return Fail(Nerr::kInvalid, "{}: coordinates '{}' are not supported", Describe(node), form.place);
}

Result<double> Round(const OnnxNode& node, const Form& form, double at) {
  if (form.rounding == "floor") return std::floor(at);
  if (form.rounding == "ceil") return std::ceil(at);
  if (form.rounding == "round_prefer_floor") return std::ceil(at - 0.5);
  if (form.rounding == "round_prefer_ceil") return std::floor(at + 0.5);
  return Fail(Nerr::kInvalid, "{}: rounding '{}' is not supported", Describe(node), form.rounding);
}

// [to][from]: what each element of the output takes from those of the input.
Result<std::vector<float>> Weights(const OnnxNode& node, const Form& form, int64_t from, int64_t to,
                                   double scale) {
  NRTD_ASSIGN(const Place place, PlaceOf(node, form));
  constexpr int64_t kMostWeights = int64_t{1} << 26;  // 8,192 x 8,192
  if (from > kMostWeights / to)
    return Fail(Nerr::kInvalid, "{}: from {} to {} elements takes more than {} weights",
                Describe(node), from, to, kMostWeights);
  std::vector<float> weights(static_cast<size_t>(from * to), 0.0F);
  const auto add = [&](int64_t row, double column, double weight) {
    const auto at = std::clamp<int64_t>(static_cast<int64_t>(column), 0, from - 1);
    weights[static_cast<size_t>(row * from + at)] += static_cast<float>(weight);
  };
  for (int64_t row = 0; row < to; ++row) {
    const double at =
        place(static_cast<double>(row), static_cast<double>(from), static_cast<double>(to), scale);
    if (form.mode == "nearest") {
      NRTD_ASSIGN(const double nearest, Round(node, form, at));
      add(row, nearest, 1);
    } else {
      const double inside = std::clamp(at, 0.0, static_cast<double>(from - 1));
      const double low = std::floor(inside);
      add(row, low, 1 - (inside - low));
      add(row, low + 1, inside - low);
    }
  }
  return weights;
}

// The scale that was asked for, which may differ a little from that of the sizes.
Result<std::vector<double>> Scales(const OnnxNode& node, const Shape& from, const Shape& to,
                                   GraphBuilder& builder) {
  std::vector<double> scales;
  for (size_t d = 0; d < from.size(); ++d)
    scales.push_back(static_cast<double>(to[d]) / static_cast<double>(from[d]));
  if (!node.HasInput(2) || node.HasInput(3)) return scales;
  NRTD_ASSIGN(const ValueId given, builder.FloatInput(node, 2));
  const Value& value = builder.at(given);
  if (!value.IsConstant() || value.Elements() != scales.size()) {
    return Fail(Nerr::kInvalid, "{}: its scales '{}' are not {} constants", Describe(node),
                value.name, scales.size());
  }
  const std::vector<float> floats = FloatsOf(value);
  if (std::any_of(floats.begin(), floats.end(), [](float scale) { return !(scale > 0); }))
    return Fail(Nerr::kInvalid, "{}: a scale is not above 0", Describe(node));
  scales.assign(floats.begin(), floats.end());
  return scales;
}

// Is it every element again and again?
bool Repeats(const Form& form, const Shape& from, const Shape& to,
             const std::vector<double>& scales) {
  for (size_t d = 0; d < from.size(); ++d) {
    if (from[d] == 1) continue;
    // A scale of 1.1 may give as many elements, but others.
    if (to[d] % from[d] != 0 || scales[d] != static_cast<double>(to[d] / from[d])) return false;
  }
  return form.mode == "nearest" &&
         ((form.place == "asymmetric" && form.rounding == "floor") ||
          ((form.place == "half_pixel" || form.place == "pytorch_half_pixel") &&
           (form.rounding == "round_prefer_floor" || form.rounding == "round_prefer_ceil")));
}

// Elements are moved and mixed: no reason to round them.
MatMul Exact() {
  MatMul product;
  product.exact = true;
  return product;
}

void AppendRepeated(const OnnxNode& node, ValueId x, ValueId output, GraphBuilder& builder) {
  const Shape& from = builder.at(x).shape;
  const Shape& to = builder.at(output).shape;
  Rearrange::Part part;
  const Shape strides = DenseStrides(from);
  for (size_t d = 0; d < from.size(); ++d) {
    part.dims.insert(part.dims.end(), {from[d], to[d] / from[d]});
    part.from_strides.insert(part.from_strides.end(), {strides[d], 0});
  }
  part.to_strides = DenseStrides(part.dims);
  builder.Append(node, Rearrange{{std::move(part)}}, {x}, output);
}

}  // namespace

Result<void> BuildResize(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.Input(node, 0));
  const Shape from = builder.at(x).shape;
  NRTD_ASSIGN(const ValueId output, builder.Output(node));
  const Shape to = builder.at(output).shape;
  const Form form{node.Attribute<std::string>("mode", "nearest"),
                  node.Attribute<std::string>("coordinate_transformation_mode", "half_pixel"),
                  node.Attribute<std::string>("nearest_mode", "round_prefer_floor")};
  if (to.size() != from.size())
    return Fail(Nerr::kInvalid, "{}: from {} to {} changes the rank", Describe(node),
                ShapeText(from), ShapeText(to));
  NRTD_ASSIGN(const std::vector<double> scales, Scales(node, from, to, builder));
  if (Repeats(form, from, to, scales)) {
    AppendRepeated(node, x, output, builder);
    return {};
  }
  const size_t rank = from.size();
  const bool is_linear = form.mode == "linear";
  const auto changes = [&](size_t axis) {
    return to[axis] != from[axis] || (scales[axis] != 1.0 && from[axis] != 1);
  };
  bool leads = false;  // does a dimension before the last two change?
  for (size_t d = 0; d + 2 < rank; ++d) leads = leads || changes(d);
  if ((form.mode != "nearest" && !is_linear) || rank < 2 || leads ||
      builder.at(x).dtype != DType::kFloat32) {
    return Fail(Nerr::kInvalid,
                "{}: from {} to {} by '{}' is not supported: nearest and linear along the last two "
                "dimensions of float32 are",
                Describe(node), ShapeText(from), ShapeText(to), form.mode);
  }
  // Columns, then rows; what does not change is left out, but for one of them.
  const size_t last = rank - 1;
  ValueId value = x;
  if (changes(last)) {
    NRTD_ASSIGN(const std::vector<float> weights,
                Weights(node, form, from[last], to[last], scales[last]));
    std::vector<float> turned(weights.size());
    for (int64_t row = 0; row < to[last]; ++row) {
      for (int64_t column = 0; column < from[last]; ++column)
        turned[static_cast<size_t>(column * to[last] + row)] =
            weights[static_cast<size_t>(row * from[last] + column)];
    }
    Shape shape = from;
    shape[last] = to[last];
    NRTD_TRY(CheckSize(node, node.name + ".columns", shape));
    value = changes(last - 1) ? builder.Between(node, "columns", std::move(shape)) : output;
    builder.Append(node, Exact(),
                   {x, builder.Constant(node, "right", {from[last], to[last]}, turned)}, value);
    if (value == output) return {};
  }
  NRTD_ASSIGN(const std::vector<float> weights,
              Weights(node, form, from[last - 1], to[last - 1], scales[last - 1]));
  builder.Append(node, Exact(),
                 {builder.Constant(node, "left", {to[last - 1], from[last - 1]}, weights), value},
                 output);
  return {};
}

}  // namespace nrtd::compiler
