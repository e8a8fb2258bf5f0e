// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <variant>

#include "driver_shim/sim/isa.h"

namespace nrtd::sim {

// Calls visit(operand, baked) for every operand that the instruction has, in the order of its
// fields; none for control instructions. baked: kernels keep a copy of it in another form if
// nothing ever writes its variable.
template <typename Variant, typename Visit>
void VisitOperands(Variant& instruction, const Visit& visit) {
  const auto optional = [&](auto& operand, bool baked) {
    if (operand) visit(*operand, baked);
  };
  std::visit(
      [&](auto& i) {
        using I = std::remove_cvref_t<decltype(i)>;
        if constexpr (std::is_same_v<I, Conv2d>) {
          visit(i.input, false), visit(i.weights, true), optional(i.bias, true);
          visit(i.output, false);
        } else if constexpr (std::is_same_v<I, MatMul>) {
          visit(i.a, false), visit(i.b, true), optional(i.bias, true), visit(i.c, false);
        } else if constexpr (std::is_same_v<I, Softmax>) {
          visit(i.input, false), optional(i.mask, false), visit(i.output, false);
        } else if constexpr (std::is_same_v<I, LayerNorm>) {
          visit(i.input, false), optional(i.scale, true), optional(i.bias, true);
          visit(i.output, false);
        } else if constexpr (std::is_same_v<I, Select>) {
          visit(i.condition, false), visit(i.a, false), visit(i.b, false), visit(i.output, false);
        } else if constexpr (std::is_same_v<I, Gather>) {
          visit(i.table, false), visit(i.indices, false), visit(i.output, false);
        } else if constexpr (requires { i.a; }) {
          visit(i.a, false), visit(i.b, false), visit(i.output, false);
        } else if constexpr (requires { i.input; }) {
          visit(i.input, false), visit(i.output, false);
        }
      },
      instruction);
}

}  // namespace nrtd::sim
