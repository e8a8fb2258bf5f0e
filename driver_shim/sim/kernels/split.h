// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "driver_shim/sim/isa.h"

namespace nrtd::sim {

struct Range {
  int64_t begin = 0;
  int64_t count = 0;
};
// The operand's part along a dimension; one that has 1 there is repeated, and stays.
void Narrow(Operand& operand, size_t dimension, const Range& range);
void Narrow(std::optional<Operand>& operand, size_t dimension, const Range& range);

// `size` in at most `parts` ranges of about the same size, whose borders are multiples of `block`.
std::vector<Range> Ranges(int64_t size, unsigned parts, int64_t block);

// The same work as several instructions that write different elements: for as many threads, or one
// after another where smaller ones are faster. At most `parts` of about the same size; just the
// instruction itself where it is too small to be worth it, or cannot be taken apart so that all
// parts are as good to compute as the whole. Each is one that Validate() accepts if the whole is.
std::vector<Instruction> Split(const Instruction& instruction, unsigned parts);

}  // namespace nrtd::sim
