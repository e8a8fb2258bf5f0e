// SPDX-License-Identifier: Apache-2.0
//
// How an instruction is cut into pieces that write different elements and take about as long as
// between two looks at the interrupt.
#pragma once

#include <optional>
#include <vector>

#include "base/error.h"
#include "driver_shim/sim/isa.h"
#include "driver_shim/sim/kernels/split.h"
#include "driver_shim/sim/kernels/work.h"

namespace nrtd::sim {

// An instruction is cut along the dimensions of what it writes (of Reduce: of what it reads), into
// blocks of these sizes. Equal to `dims` where it is not cut.
struct Blocks {
  std::vector<int64_t> dims;
  std::vector<int64_t> sizes;
  uint64_t reduce_pieces = 1;  // in which a block of a reduction is done, in addition

  bool is_whole() const { return dims == sizes; }
  int64_t count(size_t axis) const { return (dims[axis] + sizes[axis] - 1) / sizes[axis]; }
  Range range(size_t axis, int64_t index) const {
    const int64_t begin = index * sizes[axis];
    return {begin, std::min(sizes[axis], dims[axis] - begin)};
  }
};

// Blocks that take `piece_ns` at most if that is possible. kInvalid: not even in kLongestPieceNs.
Result<Blocks> ChooseBlocks(const Instruction& whole, const FormTraits& traits,
                            double piece_ns = kPieceNs);

// The part of an instruction in one range of each dimension. Operands' offsets grow by where the
// part begins. Nothing if the part would be one without input: its windows are all in the padding.
std::optional<Instruction> PartOf(const Instruction& whole, const std::vector<Range>& ranges);

// Do blocks along this axis differ in more than their place: in their padding, or in operands that
// kernels keep in another form?
bool BlocksDiffer(const Instruction& whole, size_t axis);

}  // namespace nrtd::sim
