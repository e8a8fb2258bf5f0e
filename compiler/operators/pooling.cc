// SPDX-License-Identifier: Apache-2.0
#include "compiler/operators/operator.h"
#include "compiler/operators/windows.h"

namespace nrtd::compiler {

Result<void> BuildPool(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.FloatInput(node, 0));
  NRTD_ASSIGN(const ValueId output, builder.FloatOutput(node));
  NRTD_ASSIGN(const Windows windows,
              ReadWindows(node, builder.at(x).shape, builder.at(output).shape, {}));
  if (windows.dilations != std::array<int64_t, 2>{1, 1})
    return Fail(Nerr::kInvalid, "{}: dilations are not supported", Describe(node));
  const Shape& in = builder.at(x).shape;
  const Shape& out = builder.at(output).shape;
  for (size_t d = 0; d + 2 < in.size(); ++d) {
    const size_t at = 2 - (in.size() - 2) + d;  // one dimension is the second
    const int64_t last = (out[d + 2] - 1) * windows.strides[at] - windows.pads[at];
    if (last < in[d + 2]) continue;
    // Versions of ONNX and of its runtimes disagree whether that window is there.
    return Fail(Nerr::kInvalid,
                "{}: its last window of dimension {} begins at {} of {} elements, in the padding: "
                "use less padding or no ceil_mode",
                Describe(node), d + 2, last, in[d + 2]);
  }
  for (size_t d = 0; d < 2; ++d) {
    if (windows.pads[d] >= windows.kernel[d] ||
        windows.pads[2 + d] >= windows.kernel[d] + windows.strides[d]) {
      return Fail(Nerr::kInvalid, "{}: pads {} and {} leave a window of {} without an element",
                  Describe(node), windows.pads[d], windows.pads[2 + d], windows.kernel[d]);
    }
  }
  sim::PoolKind kind = sim::PoolKind::kMax;
  if (node.op_type == "AveragePool") {
    const bool pads_count = node.Attribute<int64_t>("count_include_pad", 0) != 0;
    kind = pads_count ? sim::PoolKind::kAverageIncludePad : sim::PoolKind::kAverageExcludePad;
    // A window that ceil_mode lets hang over the padding counts less than a whole one.
    if (pads_count && node.Attribute<int64_t>("ceil_mode", 0) != 0)
      return Fail(Nerr::kInvalid, "{}: ceil_mode with count_include_pad is not supported",
                  Describe(node));
  }
  builder.Append(node, Pool{kind, windows.kernel, windows.strides, windows.pads}, {x}, output);
  return {};
}

Result<void> BuildGlobalPool(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.FloatInput(node, 0));
  const Shape shape = builder.at(x).shape;
  if (shape.size() < 3) {
    return Fail(Nerr::kInvalid, "{}: shape {} has no spatial dimensions", Describe(node),
                ShapeText(shape));
  }
  Shape kept(shape.size(), 1);
  kept[0] = shape[0];
  kept[1] = shape[1];
  NRTD_ASSIGN(const ValueId output, builder.Output(node, DType::kFloat32, kept));
  const auto kind =
      node.op_type == "GlobalMaxPool" ? sim::Reduction::kMaximum : sim::Reduction::kMean;
  builder.Append(node, Reduce{kind, kept}, {x}, output);
  return {};
}

}  // namespace nrtd::compiler
