// SPDX-License-Identifier: Apache-2.0
//
// Merges the tensors of several requests along dimension 0, and splits them again.
#pragma once

#include <cstdint>
#include <vector>

#include "serving/graph/executor.h"

namespace nrtd::serving {

// Returns the common size of dimension 0. kInvalid if there is no input, one is a scalar, the sizes
// differ, or the size is zero.
Result<int64_t> RowsOf(const Tensors& inputs);

// Concatenates all rows in order and pads with copies of the last request's first row up to `rows`.
// With `pad`, the other dimensions are padded to the largest with each tensor's first element;
// without it, kFailedState if they differ. kInvalid if the result exceeds 2 GiB.
Result<Tensors> Merge(const std::vector<const Tensors*>& requests, int64_t rows, bool pad);

// Returns rows [first, first + count) of every tensor. kFailedState if a tensor does not have
// `rows` rows.
Result<Tensors> RowsAt(const Tensors& outputs, int64_t rows, int64_t first, int64_t count);

}  // namespace nrtd::serving
