// SPDX-License-Identifier: Apache-2.0
//
// Tensors of several requests as one, and back: along dimension 0.
#pragma once

#include <cstdint>
#include <vector>

#include "serving/graph/executor.h"

namespace nrtd::serving {

// The size of dimension 0 that all inputs have. kInvalid: none, a scalar, different sizes, zero.
Result<int64_t> RowsOf(const Tensors& inputs);

// All rows, in order, and copies of the last request's first row up to `rows`. With `pad`, other
// dimensions are filled up to the largest with each tensor's first element. kFailedState: they
// differ and `pad` is false; kInvalid: more than 2 GiB.
Result<Tensors> Merge(const std::vector<const Tensors*>& requests, int64_t rows, bool pad);

// Rows [first, first + count) of every tensor. kFailedState: a tensor without rows, or of another
// number of rows than `rows`.
Result<Tensors> RowsAt(const Tensors& outputs, int64_t rows, int64_t first, int64_t count);

}  // namespace nrtd::serving
