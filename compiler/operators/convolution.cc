// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "compiler/operators/operator.h"
#include "compiler/operators/windows.h"

namespace nrtd::compiler {

namespace {
Result<void> CheckBias(const OnnxNode& node, const Shape& bias, int64_t channels) {
  if (bias == Shape{channels}) return {};
  return Fail(Nerr::kInvalid, "{}: a bias of shape {} does not fit {} output channels",
              Describe(node), ShapeText(bias), channels);
}
}  // namespace

Result<void> BuildConv(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.FloatInput(node, 0));
  NRTD_ASSIGN(const ValueId weights, builder.FloatInput(node, 1));
  std::vector<ValueId> inputs{x, weights};
  if (node.HasInput(2)) {
    NRTD_ASSIGN(const ValueId bias, builder.FloatInput(node, 2));
    inputs.push_back(bias);
  }
  NRTD_ASSIGN(const ValueId output, builder.FloatOutput(node));
  const Shape& in = builder.at(x).shape;
  const Shape& w = builder.at(weights).shape;
  const int64_t groups = node.Attribute<int64_t>("group", 1);
  if (in.size() < 3 || w.size() != in.size() || groups < 1 || w[0] % groups != 0 ||
      in[1] % groups != 0 || in[1] / groups != w[1]) {
    return Fail(Nerr::kInvalid, "{}: weights {} in {} groups do not fit an input of shape {}",
                Describe(node), ShapeText(w), groups, ShapeText(in));
  }
  if (inputs.size() == 3) {
    NRTD_TRY(CheckBias(node, builder.at(inputs[2]).shape, w[0]));
  }
  NRTD_ASSIGN(const Windows windows,
              ReadWindows(node, in, builder.at(output).shape, Shape(w.begin() + 2, w.end())));
  builder.Append(node, Conv{windows.strides, windows.dilations, windows.pads, groups, std::nullopt},
                 std::move(inputs), output);
  return {};
}

namespace {

// One spatial axis of a transposed convolution.
struct UpAxis {
  int64_t stride = 1;
  int64_t dilation = 1;
  int64_t before = 0;  // padding of the convolution that does the same
  int64_t after = 0;
};

Result<std::vector<UpAxis>> ReadUpAxes(const OnnxNode& node, const Shape& in, const Shape& w,
                                       const Shape& out) {
  const size_t spatial = in.size() - 2;
  const Shape ones(spatial, 1);
  const Shape zeros(spatial, 0);
  const auto strides = node.Attribute<std::vector<int64_t>>("strides", ones);
  const auto dilations = node.Attribute<std::vector<int64_t>>("dilations", ones);
  const auto extra = node.Attribute<std::vector<int64_t>>("output_padding", zeros);
  auto pads = node.Attribute<std::vector<int64_t>>("pads", Shape(2 * spatial, 0));
  if (strides.size() != spatial || dilations.size() != spatial || extra.size() != spatial ||
      pads.size() != 2 * spatial)
    return Fail(Nerr::kInvalid, "{}: its lists do not have {} spatial dimensions", Describe(node),
                spatial);
  for (const Shape* list :
       std::initializer_list<const Shape*>{&strides, &dilations, &extra, &pads}) {
    const bool fits = std::all_of(list->begin(), list->end(),
                                  [](int64_t v) { return v >= -kMaxExtent && v <= kMaxExtent; });
    if (!fits)
      return Fail(Nerr::kInvalid, "{}: {} is beyond {}", Describe(node), ShapeText(*list),
                  kMaxExtent);
  }
  const auto mode = node.Attribute<std::string>("auto_pad", "NOTSET");
  const bool automatic = mode.starts_with("SAME") || node.attributes.contains("output_shape");
  std::vector<UpAxis> axes;
  for (size_t d = 0; d < spatial; ++d) {
    const int64_t reach = dilations[d] * (w[d + 2] - 1);
    const int64_t whole = strides[d] * (in[d + 2] - 1) + reach + 1;
    if (strides[d] < 1 || dilations[d] < 1)
      return Fail(Nerr::kInvalid, "{}: a stride or dilation is less than 1", Describe(node));
    if (automatic) {
      const int64_t total = std::max<int64_t>(whole + extra[d] - out[d + 2], 0);
      pads[d] = mode == "SAME_UPPER" ? total / 2 : total - total / 2;
      pads[d + spatial] = total - pads[d];
    }
    const UpAxis axis{strides[d], dilations[d], reach - pads[d],
                      reach - pads[d + spatial] + extra[d]};
    if (axis.before < 0 || axis.after < 0 ||
        whole - pads[d] - pads[d + spatial] + extra[d] != out[d + 2]) {
      return Fail(Nerr::kInvalid, "{}: padding {} and {} of dimension {} is not supported",
                  Describe(node), pads[d], pads[d + spatial], d + 2);
    }
    axes.push_back(axis);
  }
  return axes;
}

// The input with strides - 1 zeros between its elements.
Result<ValueId> Spread(const OnnxNode& node, ValueId x, const std::vector<UpAxis>& axes,
                       GraphBuilder& builder) {
  const Shape from = builder.at(x).shape;
  Shape to = from;
  for (size_t d = 0; d < axes.size(); ++d) to[d + 2] = (from[d + 2] - 1) * axes[d].stride + 1;
  if (to == from) return x;
  NRTD_TRY(CheckSize(node, node.name + ".spread", to));
  const Shape strides = DenseStrides(to);
  Shape steps = strides;
  for (size_t d = 0; d < axes.size(); ++d) steps[d + 2] *= axes[d].stride;
  const ValueId zero = builder.Constant(node, "zero", Shape{}, {0.0F});
  const ValueId spread = builder.Between(node, "spread", to);
  builder.Append(node,
                 Rearrange{{{1, to, 0, Shape(to.size(), 0), 0, strides},
                            {0, from, 0, DenseStrides(from), 0, steps}}},
                 {x, zero}, spread);
  return spread;
}

// Weights [C, O/groups, ...] as those of a convolution [O, C/groups, ...], turned around.
std::vector<float> TurnWeights(const std::vector<float>& values, const Shape& w, int64_t groups) {
  int64_t window = 1;
  for (size_t d = 2; d < w.size(); ++d) window *= w[d];
  const int64_t in = w[0] / groups;
  std::vector<float> turned;
  for (int64_t g = 0; g < groups; ++g)
    for (int64_t o = 0; o < w[1]; ++o)
      for (int64_t c = 0; c < in; ++c)
        for (int64_t tap = window; tap-- > 0;)
          turned.push_back(values[static_cast<size_t>(((g * in + c) * w[1] + o) * window + tap)]);
  return turned;
}

}  // namespace

// A convolution with turned weights over the input with zeros between its elements.
Result<void> BuildConvTranspose(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.FloatInput(node, 0));
  NRTD_ASSIGN(const ValueId weights, builder.FloatInput(node, 1));
  NRTD_ASSIGN(const ValueId output, builder.FloatOutput(node));
  const Shape in = builder.at(x).shape;
  const Shape w = builder.at(weights).shape;
  const int64_t groups = node.Attribute<int64_t>("group", 1);
  if (in.size() < 3 || in.size() > 4 || w.size() != in.size() || groups < 1 || in[1] != w[0] ||
      w[0] % groups != 0) {
    return Fail(Nerr::kInvalid, "{}: weights {} in {} groups do not fit an input of shape {}",
                Describe(node), ShapeText(w), groups, ShapeText(in));
  }
  if (!builder.at(weights).IsConstant())
    return Fail(Nerr::kInvalid, "{}: its weights '{}' must be constant", Describe(node),
                builder.at(weights).name);
  NRTD_ASSIGN(const std::vector<UpAxis> axes, ReadUpAxes(node, in, w, builder.at(output).shape));
  Shape shape = w;
  shape[0] = w[1] * groups;
  shape[1] = w[0] / groups;
  NRTD_ASSIGN(const ValueId spread, Spread(node, x, axes, builder));
  std::vector<ValueId> inputs{
      spread, builder.Constant(node, "turned", std::move(shape),
                               TurnWeights(FloatsOf(builder.at(weights)), w, groups))};
  if (node.HasInput(2)) {
    NRTD_ASSIGN(const ValueId bias, builder.FloatInput(node, 2));
    NRTD_TRY(CheckBias(node, builder.at(bias).shape, w[1] * groups));
    inputs.push_back(bias);
  }
  Conv conv;
  conv.groups = groups;
  for (size_t d = 0; d < axes.size(); ++d) {
    const size_t at = 2 - axes.size() + d;  // one dimension is the second
    conv.dilations[at] = axes[d].dilation;
    conv.pads[at] = axes[d].before;
    conv.pads[at + 2] = axes[d].after;
  }
  builder.Append(node, conv, std::move(inputs), output);
  return {};
}

}  // namespace nrtd::compiler
