// SPDX-License-Identifier: Apache-2.0
#include "compiler/operators/operator.h"

namespace nrtd::compiler {

// The second input of Reshape has gone into the output's shape, which is inferred. Where it is fed
// at run time, that shape is only what the model claims.
Result<void> BuildReshape(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.Input(node, 0));
  if (node.op_type == "Reshape") {
    NRTD_ASSIGN(const ValueId shape, builder.Input(node, 1));
    if (!builder.at(shape).IsConstant()) {
      return Fail(Nerr::kInvalid,
                  "{}: its shape '{}' is not known before the network runs; make it constant",
                  Describe(node), builder.at(shape).name);
    }
  }
  NRTD_ASSIGN(const ValueId output, builder.Output(node));
  const Value& from = builder.at(x);
  const Value& to = builder.at(output);
  if (from.Elements() != to.Elements() || from.dtype != to.dtype) {
    return Fail(Nerr::kInvalid, "{}: shape {} cannot become {}", Describe(node),
                ShapeText(from.shape), ShapeText(to.shape));
  }
  builder.Append(node, Reshape{}, {x}, output);
  return {};
}

}  // namespace nrtd::compiler
