// SPDX-License-Identifier: Apache-2.0
#include "compiler/passes/passes.h"

namespace nrtd::compiler {

void CastProducts(Graph& graph) {
  for (Node& node : graph.nodes) {
    if (auto* conv = std::get_if<Conv>(&node.operation))
      conv->precision = sim::Precision::kBFloat16;
    if (auto* product = std::get_if<MatMul>(&node.operation); product != nullptr && !product->exact)
      product->precision = sim::Precision::kBFloat16;
  }
}

}  // namespace nrtd::compiler
