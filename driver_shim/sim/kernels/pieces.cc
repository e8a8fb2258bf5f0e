// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/pieces.h"

#include <algorithm>
#include <cmath>

namespace nrtd::sim {
namespace {

// Blocks along `axis` are multiples of `multiple`.
struct Cut {
  size_t axis;
  int64_t multiple = 1;
};

const std::vector<int64_t>& DimsOf(const Instruction& whole) {
  static const std::vector<int64_t> none;
  return std::visit(
      [](const auto& i) -> const std::vector<int64_t>& {
        using I = std::remove_cvref_t<decltype(i)>;
        if constexpr (std::is_same_v<I, Reduce>) {
          return i.input.dims;
        } else if constexpr (std::is_same_v<I, MatMul>) {
          return i.c.dims;
        } else if constexpr (requires { i.output; }) {
          return i.output.dims;
        } else {
          return none;
        }
      },
      whole);
}

// The axes along which an instruction may be cut, the ones to be preferred first.
std::vector<Cut> CutsOf(const Instruction& whole) {
  const size_t rank = DimsOf(whole).size();
  std::vector<Cut> cuts;
  if (const auto* conv = std::get_if<Conv2d>(&whole)) {
    // Of several groups, whole ones.
    const int64_t group = conv->groups > 1 ? conv->weights.dims[0] / conv->groups : 1;
    return {{0}, {2}, {1, group}, {3}};
  }
  if (std::holds_alternative<Pool2d>(whole)) return {{0}, {2}, {1}, {3}};
  const auto* softmax = std::get_if<Softmax>(&whole);
  const auto* reduce = std::get_if<Reduce>(&whole);
  for (size_t d = 0; d < rank; ++d) {
    if (softmax != nullptr && d == static_cast<size_t>(softmax->axis)) continue;
    if (std::holds_alternative<LayerNorm>(whole) && d + 1 == rank) continue;
    if (reduce != nullptr && reduce->output.dims[d] != reduce->input.dims[d]) continue;
    cuts.push_back({d});
  }
  return cuts;
}

// The rows of the input that the windows of some rows of the output reach.
struct Reach {
  int64_t from = 0, to = 0;       // inside the image
  int64_t before = 0, after = 0;  // padding
};
Reach ReachOf(const Range& range, int64_t stride, int64_t pad, int64_t window, int64_t size) {
  const int64_t first = range.begin * stride - pad;
  const int64_t end = first + (range.count - 1) * stride + window;
  Reach reach;
  reach.from = std::max<int64_t>(first, 0);
  reach.to = std::min(end, size);
  reach.before = reach.from - first;
  reach.after = end - reach.to;
  return reach;
}

struct Parter {
  const std::vector<Range>& ranges;
  using Part = std::optional<Instruction>;

  bool IsWhole(size_t axis, int64_t size) const { return ranges[axis].count == size; }

  // One dimension of a window's image; false if nothing of it is left.
  template <typename I>
  bool CutWindow(I& part, const I& whole, size_t d, int64_t window) const {
    const size_t axis = 2 + d;
    if (IsWhole(axis, whole.output.dims[axis])) return true;
    const Reach reach =
        ReachOf(ranges[axis], whole.strides[d], whole.pads[d], window, whole.input.dims[axis]);
    if (reach.to <= reach.from) return false;
    const bool was_one = whole.input.dims[axis] == 1;
    if (!was_one) Narrow(part.input, axis, {reach.from, reach.to - reach.from});
    Narrow(part.output, axis, ranges[axis]);
    part.pads[d] = reach.before;
    part.pads[2 + d] = reach.after;
    return true;
  }
  template <typename I>
  static void CloseGaps(I& part) {
    if (part.output.dims[0] != 1) return;
    // One image: the step to the next one is as good as any, and best if there is no gap.
    for (Operand* operand : {&part.input, &part.output})
      operand->strides[0] = operand->dims[1] * operand->dims[2] * operand->dims[3];
  }

  Part operator()(const Conv2d& whole) const {
    Conv2d part = whole;
    Narrow(part.input, 0, ranges[0]);
    Narrow(part.output, 0, ranges[0]);
    if (!IsWhole(1, whole.output.dims[1])) {
      Narrow(part.output, 1, ranges[1]);
      Narrow(part.weights, 0, ranges[1]);
      Narrow(part.bias, 0, ranges[1]);
      if (whole.groups > 1) {
        const int64_t group = whole.weights.dims[0] / whole.groups;
        const int64_t channels = whole.weights.dims[1];
        part.groups = ranges[1].count / group;
        Narrow(part.input, 1, {ranges[1].begin / group * channels, part.groups * channels});
      }
    }
    for (size_t d = 0; d < 2; ++d) {
      const int64_t window = (whole.weights.dims[2 + d] - 1) * whole.dilations[d] + 1;
      if (!CutWindow(part, whole, d, window)) return std::nullopt;
    }
    CloseGaps(part);
    return part;
  }
  Part operator()(const Pool2d& whole) const {
    Pool2d part = whole;
    for (size_t d = 0; d < 2; ++d) {
      Narrow(part.input, d, ranges[d]);
      Narrow(part.output, d, ranges[d]);
      if (!CutWindow(part, whole, d, whole.kernel[d])) return std::nullopt;
    }
    CloseGaps(part);
    return part;
  }
  Part operator()(const MatMul& whole) const {
    MatMul part = whole;
    const size_t rank = whole.c.dims.size();
    for (size_t d = 0; d < rank; ++d) {
      if (IsWhole(d, whole.c.dims[d])) continue;
      if (d + 1 != rank) Narrow(part.a, d, ranges[d]);
      if (d + 2 != rank) Narrow(part.b, d, ranges[d]);
      Narrow(part.bias, d, ranges[d]);
      Narrow(part.c, d, ranges[d]);
    }
    return part;
  }
  Part operator()(const Gather& whole) const {
    Gather part = whole;
    Narrow(part.table, 0, ranges[0]);
    Narrow(part.indices, 0, ranges[1]);
    Narrow(part.table, 2, ranges[2]);
    for (size_t d = 0; d < 3; ++d) Narrow(part.output, d, ranges[d]);
    return part;
  }
  Part operator()(const LayerNorm& whole) const {
    LayerNorm part = whole;
    return Along(part, {&part.input, &part.output});
  }
  Part operator()(const Softmax& whole) const {
    Softmax part = whole;
    for (size_t d = 0; d < ranges.size(); ++d) Narrow(part.mask, d, ranges[d]);
    return Along(part, {&part.input, &part.output});
  }
  template <typename I>
  Part operator()(const I& whole) const {
    I part = whole;
    if constexpr (requires { part.condition; }) {
      return Along(part, {&part.condition, &part.a, &part.b, &part.output});
    } else if constexpr (requires { part.a; }) {
      return Along(part, {&part.a, &part.b, &part.output});
    } else if constexpr (requires { part.input; }) {
      return Along(part, {&part.input, &part.output});
    } else {
      return part;
    }
  }
  template <typename I>
  Part Along(I& part, std::initializer_list<Operand*> operands) const {
    for (Operand* operand : operands)
      for (size_t d = 0; d < ranges.size(); ++d) Narrow(*operand, d, ranges[d]);
    return part;
  }
};

// How long a block takes that is somewhere in the middle, where the padding is not.
double BlockNs(const Instruction& whole, const Blocks& blocks, const FormTraits& traits) {
  std::vector<Range> ranges;
  for (size_t d = 0; d < blocks.dims.size(); ++d)
    ranges.push_back(blocks.range(d, (blocks.count(d) - 1) / 2));
  const auto part = PartOf(whole, ranges);
  return EstimateNs(part ? *part : whole, traits);
}

// Half of it, or little more: a multiple, and of whole vectors as long as that is possible.
int64_t Half(int64_t size, const Cut& cut) {
  constexpr int64_t kVectors = 64;
  const int64_t multiple = size > 4 * kVectors && cut.multiple == 1 ? kVectors : cut.multiple;
  return ((size + 1) / 2 + multiple - 1) / multiple * multiple;
}

}  // namespace

std::optional<Instruction> PartOf(const Instruction& whole, const std::vector<Range>& ranges) {
  return std::visit(Parter{ranges}, whole);
}

bool BlocksDiffer(const Instruction& whole, size_t axis) {
  const auto pads = [&](const auto& i) { return i.pads[axis - 2] != 0 || i.pads[axis] != 0; };
  if (const auto* conv = std::get_if<Conv2d>(&whole))
    return axis == 1 || (axis >= 2 && pads(*conv));
  if (const auto* pool = std::get_if<Pool2d>(&whole)) return axis >= 2 && pads(*pool);
  if (const auto* product = std::get_if<MatMul>(&whole)) {
    const auto varies = [&](const Operand& operand) { return operand.dims[axis] != 1; };
    return axis + 2 != product->c.dims.size()
               ? varies(product->b) || (product->bias && varies(*product->bias))
               : product->bias && varies(*product->bias);
  }
  return false;
}

Result<Blocks> ChooseBlocks(const Instruction& whole, const FormTraits& traits, double piece_ns) {
  Blocks blocks{DimsOf(whole), DimsOf(whole)};
  double ns = EstimateNs(whole, traits);
  const std::vector<Cut> cuts = CutsOf(whole);
  // Halves blocks where that gains most.
  while (ns > piece_ns) {
    constexpr double kGain = 0.99;
    Blocks best = blocks;
    double least = ns * kGain;
    for (const Cut& cut : cuts) {
      Blocks halved = blocks;
      int64_t& size = halved.sizes[cut.axis];
      if (Half(size, cut) >= size) continue;
      size = Half(size, cut);
      const double halved_ns = BlockNs(whole, halved, traits);
      if (halved_ns >= least) continue;
      least = halved_ns * kGain;
      best = std::move(halved);
    }
    if (best.sizes == blocks.sizes) break;
    blocks = std::move(best);
    ns = BlockNs(whole, blocks, traits);
  }
  if (std::holds_alternative<Reduce>(whole) && ns > piece_ns) {
    const double longest =
        static_cast<double>(*std::max_element(blocks.sizes.begin(), blocks.sizes.end()));
    const double pieces = std::min(std::ceil(ns / piece_ns), longest);
    blocks.reduce_pieces = static_cast<uint64_t>(pieces);
    ns /= pieces;
  }
  if (ns > kLongestPieceNs) {
    return Fail(Nerr::kInvalid,
                "{} cannot be cut into pieces of {} ms: one element of its output takes longer, or "
                "its windows are in the padding",
                OpcodeName(OpcodeOf(whole)), kLongestPieceNs / 1e6);
  }
  return blocks;
}

}  // namespace nrtd::sim
