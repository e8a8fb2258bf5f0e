// SPDX-License-Identifier: Apache-2.0
#include "compiler/lower/views.h"

#include <algorithm>
#include <functional>
#include <numeric>

namespace nrtd::compiler {

Shape AsImages(const Shape& shape) {
  if (shape.size() != 3) return shape;
  return {shape[0], shape[1], 1, shape[2]};
}

Shape PadRank(const Shape& shape, size_t rank) {
  Shape padded(rank - std::min(rank, shape.size()), 1);
  padded.insert(padded.end(), shape.begin(), shape.end());
  return padded;
}

Joined JoinDimensions(const Shape& full, const std::vector<Shape>& parts) {
  Joined joined{{}, std::vector<Shape>(parts.size())};
  size_t last = 0;  // the dimension of `full` that was appended last
  for (size_t d = 0; d < full.size(); ++d) {
    if (full[d] == 1) continue;
    // Both whole or both 1, in every part?
    const bool fits =
        !joined.full.empty() && std::all_of(parts.begin(), parts.end(), [&](const Shape& part) {
          return (part[d] == 1) == (part[last] == 1);
        });
    if (fits) {
      joined.full.back() *= full[d];
      for (size_t p = 0; p < parts.size(); ++p) joined.parts[p].back() *= parts[p][d];
    } else {
      joined.full.push_back(full[d]);
      for (size_t p = 0; p < parts.size(); ++p) joined.parts[p].push_back(parts[p][d]);
    }
    last = d;
  }
  if (joined.full.empty()) {
    joined.full.push_back(1);
    for (Shape& part : joined.parts) part.push_back(1);
  }
  return joined;
}

int64_t Product(std::span<const int64_t> dims) {
  return std::accumulate(dims.begin(), dims.end(), int64_t{1}, std::multiplies<>());
}

}  // namespace nrtd::compiler
