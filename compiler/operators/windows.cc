// SPDX-License-Identifier: Apache-2.0
#include "compiler/operators/windows.h"

#include <algorithm>
#include <string>

#include "compiler/operators/operator.h"

namespace nrtd::compiler {
namespace {

Result<Shape> ReadList(const OnnxNode& node, const std::string& key, const Shape& otherwise,
                       int64_t least) {
  Shape list = node.Attribute<std::vector<int64_t>>(key, otherwise);
  const bool fits = std::all_of(list.begin(), list.end(),
                                [&](int64_t v) { return v >= least && v <= kMaxExtent; });
  if (list.size() == otherwise.size() && fits) return list;
  return Fail(Nerr::kInvalid, "{}: {} is {}, expected {} numbers from {} on", Describe(node), key,
              ShapeText(list), otherwise.size(), least);
}

struct Axis {
  int64_t input, output, window, stride;
  int64_t before, after;  // padding
};

Result<void> PadAutomatically(const OnnxNode& node, const std::string& mode, Axis& axis) {
  if (mode == "VALID") {
    axis.before = axis.after = 0;
  } else if (mode == "SAME_UPPER" || mode == "SAME_LOWER") {
    const int64_t total =
        std::max<int64_t>(0, (axis.output - 1) * axis.stride + axis.window - axis.input);
    axis.before = mode == "SAME_UPPER" ? total / 2 : total - total / 2;
    axis.after = total - axis.before;
  } else if (mode != "NOTSET") {
    return Fail(Nerr::kInvalid, "{}: auto_pad '{}' is unknown", Describe(node), mode);
  }
  return {};
}

Result<void> FitAxis(const OnnxNode& node, Axis& axis) {
  const int64_t last_start = (axis.output - 1) * axis.stride;
  if (node.Attribute<int64_t>("ceil_mode", 0) != 0) {
    axis.after = std::max(axis.after, last_start + axis.window - axis.input - axis.before);
  }
  const int64_t room = axis.input + axis.before + axis.after - axis.window;
  if (room < 0 || room / axis.stride + 1 != axis.output) {
    return Fail(Nerr::kInvalid,
                "{}: windows of {} with stride {} over {} elements padded by {} and {} do not give "
                "{} outputs",
                Describe(node), axis.window, axis.stride, axis.input, axis.before, axis.after,
                axis.output);
  }
  return {};
}

}  // namespace

Result<Windows> ReadWindows(const OnnxNode& node, const Shape& input, const Shape& output,
                            const Shape& kernel) {
  const size_t spatial = input.size() - std::min<size_t>(input.size(), 2);
  if (spatial < 1 || spatial > 2 || output.size() != input.size()) {
    return Fail(Nerr::kInvalid,
                "{}: an input of shape {} has {} spatial dimensions, only 1 and 2 are supported",
                Describe(node), ShapeText(input), spatial);
  }
  const Shape ones(spatial, 1);
  NRTD_ASSIGN(const Shape kernel_shape,
              ReadList(node, "kernel_shape", kernel.empty() ? ones : kernel, 1));
  NRTD_ASSIGN(const Shape strides, ReadList(node, "strides", ones, 1));
  NRTD_ASSIGN(const Shape dilations, ReadList(node, "dilations", ones, 1));
  NRTD_ASSIGN(const Shape pads, ReadList(node, "pads", Shape(2 * spatial, 0), 0));
  if (!kernel.empty() && kernel_shape != kernel) {
    return Fail(Nerr::kInvalid, "{}: kernel_shape is {}, but its weights are {}", Describe(node),
                ShapeText(kernel_shape), ShapeText(kernel));
  }
  Windows windows;
  for (size_t d = 0; d < spatial; ++d) {
    const size_t to = 2 - spatial + d;
    if (input[2 + d] > kMaxExtent || kernel_shape[d] * dilations[d] > kMaxExtent) {
      return Fail(Nerr::kInvalid, "{}: {} elements under a window of {} x {} are too many",
                  Describe(node), input[2 + d], kernel_shape[d], dilations[d]);
    }
    Axis axis{input[2 + d], output[2 + d], (kernel_shape[d] - 1) * dilations[d] + 1,
              strides[d],   pads[d],       pads[spatial + d]};
    NRTD_TRY(PadAutomatically(node, node.Attribute<std::string>("auto_pad", "NOTSET"), axis));
    NRTD_TRY(FitAxis(node, axis));
    windows.kernel[to] = kernel_shape[d];
    windows.strides[to] = strides[d];
    windows.dilations[to] = dilations[d];
    windows.pads[to] = axis.before;
    windows.pads[2 + to] = axis.after;
  }
  return windows;
}

}  // namespace nrtd::compiler
