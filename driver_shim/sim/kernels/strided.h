// SPDX-License-Identifier: Apache-2.0
//
// Walks over several operands of equal dimensions, row by row of the innermost one.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include "driver_shim/sim/isa.h"

namespace nrtd::sim {

template <size_t N>
struct StridedAxis {
  int64_t size = 1;
  std::array<int64_t, N> strides{};  // in elements, one an operand
};

// Without dimensions of one element, and with neighbours joined that all operands walk through
// without a gap. At least one axis is left. The operands' dimensions are equal, or, except for the
// first, 1 where they are repeated.
template <size_t N>
std::vector<StridedAxis<N>> JoinAxes(const std::array<const Operand*, N>& operands) {
  std::vector<StridedAxis<N>> axes;
  const std::vector<int64_t>& dims = operands[0]->dims;
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d] == 1) continue;
    StridedAxis<N> axis{dims[d], {}};
    for (size_t i = 0; i < N; ++i)
      axis.strides[i] = operands[i]->dims[d] == 1 ? 0 : operands[i]->strides[d];
    bool joins = !axes.empty();
    for (size_t i = 0; i < N && joins; ++i)
      joins = axes.back().strides[i] == axis.size * axis.strides[i];
    if (joins) {
      axes.back() = {axes.back().size * axis.size, axis.strides};
    } else {
      axes.push_back(axis);
    }
  }
  if (axes.empty()) axes.push_back({});
  return axes;
}

// The same, with the axes in the order of the first operand's strides instead of the dimensions':
// for kernels to which the order does not matter.
template <size_t N>
std::vector<StridedAxis<N>> JoinAxesByStride(const std::array<const Operand*, N>& operands) {
  const std::vector<int64_t>& strides = operands[0]->strides;
  std::vector<size_t> order(strides.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return strides[a] > strides[b]; });
  std::array<Operand, N> sorted;
  std::array<const Operand*, N> pointers{};
  for (size_t i = 0; i < N; ++i) {
    for (const size_t d : order) {
      sorted[i].dims.push_back(operands[i]->dims[d]);
      sorted[i].strides.push_back(operands[i]->strides[d]);
    }
    pointers[i] = &sorted[i];
  }
  return JoinAxes<N>(pointers);
}

// Calls row(offsets, innermost axis) for every row; offsets are elements from each operand's first.
// Inlined, so that rows are compiled for the CPU that the caller is compiled for.
template <size_t N, typename Row>
[[gnu::always_inline]] inline void ForEachRow(const std::vector<StridedAxis<N>>& axes,
                                              const Row& row) {
  std::array<int64_t, N> offsets{};
  std::array<int64_t, kMaxRank> index{};
  const size_t outer = axes.size() - 1;
  while (true) {
    row(offsets, axes[outer]);
    size_t d = outer;
    while (d > 0) {
      --d;
      const StridedAxis<N>& axis = axes[d];
      for (size_t i = 0; i < N; ++i) offsets[i] += axis.strides[i];
      if (++index[d] < axis.size) break;
      for (size_t i = 0; i < N; ++i) offsets[i] -= axis.size * axis.strides[i];
      index[d] = 0;
      if (d == 0) return;
    }
    if (outer == 0) return;
  }
}

}  // namespace nrtd::sim
