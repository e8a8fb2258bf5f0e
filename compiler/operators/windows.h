// SPDX-License-Identifier: Apache-2.0
//
// What Conv and MaxPool have in common: windows that slide over one or two spatial dimensions.
#pragma once

#include <array>
#include <cstdint>

#include "base/error.h"
#include "compiler/onnx_model.h"

namespace nrtd::compiler {

// Of windows, strides, dilations and pads: far beyond any image, and small enough that no sum or
// product of them and of dimensions overflows.
inline constexpr int64_t kMaxExtent = int64_t{1} << 30;

// Always two dimensions; an operator of one spatial dimension has it second, the first is trivial.
struct Windows {
  std::array<int64_t, 2> kernel{1, 1};
  std::array<int64_t, 2> strides{1, 1};
  std::array<int64_t, 2> dilations{1, 1};
  std::array<int64_t, 4> pads{0, 0, 0, 0};  // top, left, bottom, right
};

// Reads kernel_shape, strides, dilations, pads and auto_pad of `node`, whose first input has shape
// `input` and first output `output`. `kernel` stands for a kernel_shape that is absent. ceil_mode
// is turned into more padding behind the input, which a MaxPool never takes as maximum. kInvalid:
// other than 1 or 2 spatial dimensions, lists of a wrong length, values out of range, windows that
// do not give `output`.
Result<Windows> ReadWindows(const OnnxNode& node, const Shape& input, const Shape& output,
                            const Shape& kernel);

}  // namespace nrtd::compiler
