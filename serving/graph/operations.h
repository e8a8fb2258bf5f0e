// SPDX-License-Identifier: Apache-2.0
//
// The host operations of a SavedModel, as TensorFlow defines them.
#pragma once

#include <span>
#include <vector>

#include "serving/graph/graph.h"

namespace nrtd::serving {

// What the operation makes of its inputs: one tensor for each output. None of Placeholder, Const
// and Neuron. kInvalid: shapes, axes or types that do not fit, a result of more than 2 GiB.
Result<std::vector<Tensor>> RunOperation(const Operation& operation,
                                         std::span<const Tensor> inputs);

// The elements in another type: as static_cast, but what a type cannot hold becomes its nearest
// value and NaN becomes 0 in integers.
Result<Tensor> CastTo(const Tensor& tensor, DType dtype);

// Elements [begin, end) of dimension `axis`; they exist.
Tensor SliceOf(const Tensor& tensor, size_t axis, int64_t begin, int64_t end);
// One behind the other along `axis`. kInvalid unless they differ there only.
Result<Tensor> Concatenate(std::span<const Tensor> tensors, size_t axis);

}  // namespace nrtd::serving
