// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/split.h"

#include <algorithm>

#include "base/sizes.h"

namespace nrtd::sim {

std::vector<Range> Ranges(int64_t size, unsigned parts, int64_t block) {
  const int64_t blocks = (size + block - 1) / block;
  const int64_t used = std::min<int64_t>(parts, blocks);
  std::vector<Range> ranges;
  for (int64_t p = 0; p < used; ++p) {
    const int64_t begin = blocks * p / used * block;
    const int64_t end = std::min(size, blocks * (p + 1) / used * block);
    ranges.push_back({begin, end - begin});
  }
  return ranges;
}

void Narrow(Operand& operand, size_t dimension, const Range& range) {
  if (operand.dims[dimension] == 1) return;
  operand.offset +=
      static_cast<uint64_t>(range.begin * operand.strides[dimension]) * DTypeSize(operand.dtype);
  operand.dims[dimension] = range.count;
}
void Narrow(std::optional<Operand>& operand, size_t dimension, const Range& range) {
  if (operand) Narrow(*operand, dimension, range);
}

namespace {

// Some 10 us of work a part: far more than it takes to hand it over.
constexpr uint64_t kLeastMacs = 400'000;
constexpr uint64_t kLeastElements = 16'384;
// Columns of a product are dealt out in blocks of these.
constexpr int64_t kColumnBlock = 64;
constexpr int64_t kRowBlock = 8;

uint64_t Elements(const Operand& operand) {
  return ElementCount(operand.dims).value_or(0);
}

// The first dimension, but for `except`, that has enough for all parts; the largest if none has.
size_t Widest(const std::vector<int64_t>& dims, unsigned parts, size_t except = SIZE_MAX) {
  size_t widest = except == 0 ? 1 : 0;
  for (size_t d = 0; d < dims.size(); ++d) {
    if (d == except) continue;
    if (dims[d] >= static_cast<int64_t>(parts)) return d;
    if (widest >= dims.size() || dims[d] > dims[widest]) widest = d;
  }
  return widest;
}

class Splitter {
 public:
  explicit Splitter(unsigned parts) : parts_(parts) {}

  template <typename Control>
  std::vector<Instruction> operator()(const Control& instruction) const {
    return {instruction};
  }

  std::vector<Instruction> operator()(const MatMul& whole) const {
    const std::vector<int64_t>& dims = whole.c.dims;
    if (MacCount(whole) < kLeastMacs * parts_) return {whole};
    const size_t row = dims.size() - 2;
    const size_t column = dims.size() - 1;
    // Whole products if there are enough, otherwise columns, otherwise rows.
    size_t along = column;
    int64_t block = kColumnBlock;
    for (size_t d = 0; d < row; ++d) {
      if (dims[d] % static_cast<int64_t>(parts_) == 0) {
        along = d;
        block = 1;
        break;
      }
    }
    if (along == column && dims[column] < kColumnBlock * static_cast<int64_t>(parts_)) {
      along = row;
      block = kRowBlock;
    }
    return Along(whole, dims[along], block, [&](MatMul& part, const Range& range) {
      if (along != column) Narrow(part.a, along, range);
      if (along != row) Narrow(part.b, along, range);
      Narrow(part.bias, along, range);
      Narrow(part.c, along, range);
    });
  }

  std::vector<Instruction> operator()(const Conv2d& whole) const {
    if (MacCount(whole) < kLeastMacs * parts_) return {whole};
    const int64_t window = (whole.weights.dims[2] - 1) * whole.dilations[0] + 1;
    return Images(whole, window);
  }

  std::vector<Instruction> operator()(const Pool2d& whole) const {
    if (Elements(whole.input) < kLeastElements * parts_) return {whole};
    return Images(whole, whole.kernel[0]);
  }

  std::vector<Instruction> operator()(const Activation& whole) const { return Unary(whole); }
  std::vector<Instruction> operator()(const Copy& whole) const { return Unary(whole); }

  std::vector<Instruction> operator()(const Softmax& whole) const {
    if (whole.output.dims.size() < 2 || Elements(whole.output) < kLeastElements * parts_)
      return {whole};
    const size_t along = Widest(whole.output.dims, parts_, static_cast<size_t>(whole.axis));
    return Along(whole, whole.output.dims[along], 1, [&](Softmax& part, const Range& range) {
      Narrow(part.input, along, range);
      Narrow(part.mask, along, range);
      Narrow(part.output, along, range);
    });
  }

  std::vector<Instruction> operator()(const LayerNorm& whole) const {
    const size_t rank = whole.output.dims.size();
    if (rank < 2 || Elements(whole.output) < kLeastElements * parts_) return {whole};
    const size_t along = Widest(whole.output.dims, parts_, rank - 1);
    return Along(whole, whole.output.dims[along], 1, [&](LayerNorm& part, const Range& range) {
      Narrow(part.input, along, range);
      Narrow(part.output, along, range);
    });
  }

  std::vector<Instruction> operator()(const Binary& whole) const {
    if (Elements(whole.output) < kLeastElements * parts_) return {whole};
    const size_t along = Widest(whole.output.dims, parts_);
    return Along(whole, whole.output.dims[along], 1, [&](Binary& part, const Range& range) {
      Narrow(part.a, along, range);
      Narrow(part.b, along, range);
      Narrow(part.output, along, range);
    });
  }

 private:
  template <typename I, typename Cut>
  std::vector<Instruction> Along(const I& whole, int64_t size, int64_t block,
                                 const Cut& cut) const {
    std::vector<Instruction> parts;
    for (const Range& range : Ranges(size, parts_, block)) {
      I part = whole;
      cut(part, range);
      parts.emplace_back(std::move(part));
    }
    return parts;
  }

  template <typename I>
  std::vector<Instruction> Unary(const I& whole) const {
    if (Elements(whole.output) < kLeastElements * parts_) return {whole};
    const size_t along = Widest(whole.output.dims, parts_);
    return Along(whole, whole.output.dims[along], 1, [&](I& part, const Range& range) {
      Narrow(part.input, along, range);
      Narrow(part.output, along, range);
    });
  }

  // The rows of the input that the windows of some rows of the output reach.
  struct Reach {
    int64_t first = 0, end = 0;  // padding included
    int64_t from = 0, to = 0;    // inside the image; none if to <= from
  };
  template <typename I>
  static Reach ReachOf(const I& whole, const Range& range, int64_t window) {
    Reach reach;
    reach.first = range.begin * whole.strides[0] - whole.pads[0];
    reach.end = reach.first + (range.count - 1) * whole.strides[0] + window;
    reach.from = std::max<int64_t>(reach.first, 0);
    reach.to = std::min(reach.end, whole.input.dims[2]);
    return reach;
  }

  // Images, if there are enough of them; otherwise rows of the one image, with the rows of the
  // input that their windows reach. Only where rows are runs of pixels with all their channels: the
  // library is slow for what has gaps. And only where every part reaches the image: padding may be
  // higher than it, and an instruction without input does not exist.
  template <typename I>
  std::vector<Instruction> Images(const I& whole, int64_t window) const {
    const int64_t count = whole.output.dims[0];
    if (count % static_cast<int64_t>(parts_) == 0) {
      return Along(whole, count, 1, [&](I& part, const Range& range) {
        Narrow(part.input, 0, range);
        Narrow(part.output, 0, range);
      });
    }
    const bool channels_last = whole.input.strides[1] == 1 && whole.output.strides[1] == 1;
    if (count != 1 || !channels_last || whole.output.dims[2] < 2 * static_cast<int64_t>(parts_))
      return {whole};
    const int64_t rows = whole.output.dims[2];
    for (const Range& range : Ranges(rows, parts_, 1)) {
      const Reach reach = ReachOf(whole, range, window);
      if (reach.to <= reach.from) return {whole};
    }
    return Along(whole, rows, 1, [&](I& part, const Range& range) {
      const Reach reach = ReachOf(whole, range, window);
      Narrow(part.input, 2, {reach.from, reach.to - reach.from});
      Narrow(part.output, 2, range);
      part.pads[0] = reach.from - reach.first;
      part.pads[2] = reach.end - reach.to;
      // One image: the step to the next one is as good as any, and best if there is no gap.
      for (Operand* operand : {&part.input, &part.output})
        operand->strides[0] = operand->dims[1] * operand->dims[2] * operand->dims[3];
    });
  }

  const unsigned parts_;
};

}  // namespace

std::vector<Instruction> Split(const Instruction& instruction, unsigned parts) {
  if (parts < 2) return {instruction};
  return std::visit(Splitter(parts), instruction);
}

}  // namespace nrtd::sim
