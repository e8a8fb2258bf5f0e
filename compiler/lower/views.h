// SPDX-License-Identifier: Apache-2.0
//
// Other dimensions for the same dense elements.
#pragma once

#include <span>
#include <vector>

#include "base/dtype.h"

namespace nrtd::compiler {

// [N,C,L] as [N,C,1,L]; four dimensions stay.
Shape AsImages(const Shape& shape);

// With dimensions of 1 in front, until there are `rank`.
Shape PadRank(const Shape& shape, size_t rank);

// Joins neighbouring dimensions of shapes that repeat to `full`: of its rank, each
// dimension that of `full` or 1. Two neighbours are joined where every shape has both whole or both
// 1. Dense elements stay where they are. At least one dimension is left.
struct Joined {
  Shape full;
  std::vector<Shape> parts;
};
Joined JoinDimensions(const Shape& full, const std::vector<Shape>& parts);

// The number of elements as an int64_t, as instructions want it.
int64_t Product(std::span<const int64_t> dims);

}  // namespace nrtd::compiler
