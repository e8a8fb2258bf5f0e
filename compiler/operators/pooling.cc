// SPDX-License-Identifier: Apache-2.0
#include "compiler/operators/operator.h"
#include "compiler/operators/windows.h"

namespace nrtd::compiler {

Result<void> BuildMaxPool(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.FloatInput(node, 0));
  NRTD_ASSIGN(const ValueId output, builder.FloatOutput(node));
  NRTD_ASSIGN(const Windows windows,
              ReadWindows(node, builder.at(x).shape, builder.at(output).shape, {}));
  if (windows.dilations != std::array<int64_t, 2>{1, 1})
    return Fail(Nerr::kInvalid, "{}: dilations are not supported", Describe(node));
  for (size_t d = 0; d < 2; ++d) {
    if (windows.pads[d] >= windows.kernel[d] ||
        windows.pads[2 + d] >= windows.kernel[d] + windows.strides[d]) {
      return Fail(Nerr::kInvalid, "{}: pads {} and {} leave a window of {} without an element",
                  Describe(node), windows.pads[d], windows.pads[2 + d], windows.kernel[d]);
    }
  }
  builder.Append(node, Pool{sim::PoolKind::kMax, windows.kernel, windows.strides, windows.pads},
                 {x}, output);
  return {};
}

}  // namespace nrtd::compiler
