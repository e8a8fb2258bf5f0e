// SPDX-License-Identifier: Apache-2.0
#include "compiler/lower/lower.h"

namespace nrtd::compiler {

Result<void> Lower(const Node& node, const Pool& pool, LowerContext& context) {
  const auto images = [&](ValueId id) { return context.Images(id, pool.channels_last); };
  context.Append(node, sim::Engine::kPool,
                 sim::Pool2d{images(node.inputs[0]), images(node.output), pool.kind, pool.kernel,
                             pool.strides, pool.pads});
  return {};
}

}  // namespace nrtd::compiler
