// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/work.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/sizes.h"

namespace nrtd::sim {
namespace {

// Of an element: the work on one that is in the first-level cache.
constexpr double kElementNs = 0.3;
constexpr double kPackedNs = 0.5;
constexpr double kChainNs = 2;  // an addition to the one before
// A cache line that is read in order or was read a short while ago; one that nothing fetched ahead.
constexpr double kLineBytes = 64;
constexpr double kLineNs = 6;
constexpr double kFarLineNs = 100;
constexpr double kFarBytes = 512;         // from this stride on
constexpr double kCachedBytes = 1 << 19;  // of which lines are still there when they are read again
// A page of 4 KiB that is touched for the first time (simulated DRAM is sparse).
constexpr double kPageBytes = 4096;
constexpr double kPageNs = 1500;
// A product. Few channels use few of a vector's lanes; reference code works out every address.
constexpr double kFloatMacNs = 0.04;
constexpr double kBFloat16MacNs = 0.02;
constexpr double kNarrowMacNs = 0.6;
constexpr int64_t kNarrowChannels = 8;
constexpr double kDeepWindow = 27;  // values under a window: three channels of 3 x 3
constexpr double kSlowNs = 40;      // a product, or an element, of reference code
constexpr double kWindowNs = 2;     // an element under a window
// Functions that are not made of additions and comparisons; powers.
constexpr double kFunctionNs = 25;
constexpr double kPowerNs = 150;
constexpr double kSoftmaxNs = 10;
constexpr double kStridedExpNs = 25;
// Products and convolutions have tables of their rows.
constexpr double kTableRows = 65'536;

double ElementCountOf(const Operand& operand) {
  return static_cast<double>(ElementCount(operand.dims).value_or(UINT64_MAX));
}

double StrideBytes(const Operand& operand, size_t dimension) {
  return static_cast<double>(operand.strides[dimension]) *
         static_cast<double>(DTypeSize(operand.dtype));
}

// One step along a dimension, to a line that is not in the cache if it is far away.
double StepNs(const Operand& operand, size_t dimension) {
  const double bytes = StrideBytes(operand, dimension);
  return kElementNs + std::min(bytes / kLineBytes, 1.0) * kLineNs +
         (bytes >= kFarBytes ? kFarLineNs : 0);
}

// Dimensions in the order in which loops go over them, the innermost one first.
using Order = std::vector<size_t>;
Order InOrder(size_t rank) {
  Order order(rank);
  for (size_t d = 0; d < rank; ++d) order[d] = rank - 1 - d;
  return order;
}
// In the order of the operand's strides.
Order BestOrder(const Operand& operand) {
  Order order = InOrder(operand.dims.size());
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return operand.strides[a] < operand.strides[b]; });
  return order;
}
Order WithInnermost(Order order, size_t dimension) {
  std::erase(order, dimension);
  order.insert(order.begin(), dimension);
  return order;
}

// Touching every element once. A step to a far line costs less where an outer loop comes back to
// the same lines while they are in the cache.
double WalkNs(const Operand& operand, const Order& order) {
  double an_element = kElementNs;
  double count = 1;
  double set_bytes = kLineBytes;  // of the lines that the loops so far go over
  double last_byte = 0;
  double near_bytes = 0;  // of the dimensions whose steps are smaller than a page
  double far_steps = 1;
  for (size_t i = 0; i < order.size(); ++i) {
    const auto size = static_cast<double>(operand.dims[order[i]]);
    const double stride = StrideBytes(operand, order[i]);
    if (size == 1) continue;
    double line = kLineNs;
    set_bytes = std::max(set_bytes * std::min(stride / kLineBytes, 1.0) * size, set_bytes);
    if (stride >= kFarBytes) {
      double new_lines = 1;  // of those that a walk along this dimension reaches
      double walk_bytes = set_bytes;
      for (size_t o = i + 1; o < order.size() && walk_bytes <= kCachedBytes; ++o) {
        const auto outer_size = static_cast<double>(operand.dims[order[o]]);
        const double outer = StrideBytes(operand, order[o]);
        if (outer_size > 1 && outer < kLineBytes)
          new_lines = std::min(new_lines, std::max(outer / kLineBytes, 1 / outer_size));
        walk_bytes *= std::max(std::min(outer / kLineBytes, 1.0) * outer_size, 1.0);
      }
      line += new_lines * kFarLineNs;
    }
    an_element += std::min(stride / kLineBytes, 1.0) * line / count;
    count *= size;
    last_byte += stride * (size - 1);
    if (stride < kPageBytes) {
      near_bytes += stride * (size - 1);
    } else {
      far_steps *= size;
    }
  }
  const double pages =
      std::min({count, last_byte / kPageBytes + 1, (near_bytes / kPageBytes + 1) * far_steps});
  return an_element * count + pages * kPageNs;
}
double WalkNs(const Operand& operand) {
  return WalkNs(operand, InOrder(operand.dims.size()));
}
double BestWalkNs(const Operand& operand) {
  return WalkNs(operand, BestOrder(operand));
}
double WalkNs(const std::optional<Operand>& operand) {
  return operand ? WalkNs(*operand) : 0;
}
double WalkNs(const std::optional<Operand>& operand, const Order& order) {
  return operand ? WalkNs(*operand, order) : 0;
}

bool IsSimple(Function function) {
  switch (function) {
    case Function::kRelu:
    case Function::kLeakyRelu:
    case Function::kClip:
    case Function::kAbs:
    case Function::kLinear:
      return true;
    default:
      return false;
  }
}

double FusedNs(const std::optional<Fused>& fused, const Operand& output) {
  if (!fused) return 0;
  return BestWalkNs(output) +
         ElementCountOf(output) * (IsSimple(fused->function) ? 1 : kFunctionNs);
}

struct Estimate {
  bool is_slow;
  bool is_packed;

  double WeightsNs(const Operand& weights) const {
    return is_packed ? ElementCountOf(weights) * kPackedNs : BestWalkNs(weights);
  }

  double operator()(const MatMul& i) const {
    const auto macs = static_cast<double>(MacCount(i));
    const size_t rank = i.c.dims.size();
    const double rows = ElementCountOf(i.c) / static_cast<double>(i.c.dims.back());
    const double tables = rows / kTableRows * kPieceNs;
    const double walks =
        BestWalkNs(i.a) + WeightsNs(i.b) + BestWalkNs(i.c) + WalkNs(i.bias) + FusedNs(i.fused, i.c);
    double mac = i.precision == Precision::kBFloat16 ? kBFloat16MacNs : kFloatMacNs;
    if (i.c.dims.back() < kNarrowChannels || i.c.dims[rank - 2] < kNarrowChannels)
      mac = kNarrowMacNs;
    if (is_slow) mac = kSlowNs + StepNs(i.a, rank - 1) + StepNs(i.b, rank - 2);
    return std::max(tables, walks + macs * mac);
  }
  double operator()(const Conv2d& i) const {
    const auto macs = static_cast<double>(MacCount(i));
    const double places = ElementCountOf(i.output) / static_cast<double>(i.output.dims[1]);
    const double tables = places / kTableRows * kPieceNs;
    const double padding = static_cast<double>((i.input.dims[2] + i.pads[0] + i.pads[2])) *
                           static_cast<double>((i.input.dims[3] + i.pads[1] + i.pads[3])) *
                           static_cast<double>(i.input.dims[0] * i.input.dims[1]);
    const double walks = BestWalkNs(i.input) + WeightsNs(i.weights) + BestWalkNs(i.output) +
                         padding + FusedNs(i.fused, i.output);
    double mac = i.precision == Precision::kBFloat16 ? kBFloat16MacNs : kFloatMacNs;
    const bool deep = i.weights.dims[1] >= kNarrowChannels ||
                      (i.groups == 1 && ElementCountOf(i.weights) >=
                                            kDeepWindow * static_cast<double>(i.weights.dims[0]));
    if (!deep || i.weights.dims[0] / i.groups < kNarrowChannels) mac = kNarrowMacNs;
    if (is_slow) mac = kSlowNs + StepNs(i.input, 3) + StepNs(i.weights, 3);
    return std::max(tables, walks + macs * mac);
  }
  double operator()(const Pool2d& i) const {
    const double element = is_slow ? kSlowNs + StepNs(i.input, 3) : kWindowNs;
    return BestWalkNs(i.input) + BestWalkNs(i.output) +
           static_cast<double>(PooledElements(i)) * element;
  }
  double operator()(const Softmax& i) const {
    const auto axis = static_cast<size_t>(i.axis);
    const bool rows = i.input.strides[axis] == 1 && i.output.strides[axis] == 1;
    // Along the axis, which is the innermost loop: to write z, then e, then e / sum.
    const Order order = WithInnermost(InOrder(i.output.dims.size()), axis);
    return ElementCountOf(i.output) * (rows ? kSoftmaxNs : kStridedExpNs) +
           3 * WalkNs(i.output, order) + WalkNs(i.input, order) + WalkNs(i.mask, order);
  }
  double operator()(const LayerNorm& i) const {
    return 3 * WalkNs(i.input) + 2 * WalkNs(i.output) + WalkNs(i.scale) + WalkNs(i.bias);
  }
  // Element by element: in the order of what is written, but for reference code.
  Order OrderOf(const Operand& output) const {
    return is_slow ? InOrder(output.dims.size()) : BestOrder(output);
  }
  double operator()(const Activation& i) const {
    const Order order = OrderOf(i.output);
    const double moved = i.input.strides != i.output.strides ? (*this)(Copy{i.input, i.output}) : 0;
    return moved + WalkNs(i.input, order) + WalkNs(i.output, order) +
           ElementCountOf(i.output) *
               ((IsSimple(i.function) ? 1 : kFunctionNs) + (is_slow ? kSlowNs : 0));
  }
  double operator()(const Binary& i) const {
    const Order order = OrderOf(i.output);
    return WalkNs(i.a, order) + WalkNs(Repeated(i.b, i.output), order) + WalkNs(i.output, order) +
           ElementCountOf(i.output) * ((i.function == BinaryFunction::kPower    ? kPowerNs
                                        : i.function == BinaryFunction::kDivide ? kFunctionNs
                                                                                : 1) +
                                       (is_slow ? kSlowNs : 0)) +
           FusedNs(i.fused, i.output);
  }
  double operator()(const Copy& i) const {
    const Order order = BestOrder(i.output);
    return WalkNs(i.input, order) + WalkNs(i.output, order) +
           ElementCountOf(i.output) * (i.input.dtype == i.output.dtype ? 0 : 3);
  }
  double operator()(const Gather& i) const {
    // Rows are anywhere in the table.
    const double far = (kFarLineNs + kPageNs) * static_cast<double>(i.output.dims[0]) *
                       static_cast<double>(i.output.dims[1]);
    Operand rows = i.table;
    rows.dims = i.output.dims;
    rows.strides[0] = rows.strides[1] = 0;
    return far + WalkNs(rows) + WalkNs(i.indices) + WalkNs(i.output);
  }
  double operator()(const Reduce& i) const {
    return WalkNs(i.input) + 2 * WalkNs(i.output) + WalkNs(Repeated(i.output, i.input)) +
           ElementCountOf(i.input) * kChainNs;
  }
  double operator()(const Compare& i) const {
    const Order order = BestOrder(i.output);
    return WalkNs(i.a, order) + WalkNs(i.b, order) + WalkNs(i.output, order) +
           ElementCountOf(i.output);
  }
  double operator()(const Select& i) const {
    const Order order = BestOrder(i.output);
    return WalkNs(i.condition, order) + WalkNs(i.a, order) + WalkNs(i.b, order) +
           WalkNs(i.output, order) + ElementCountOf(i.output);
  }
  template <typename Control>
  double operator()(const Control&) const {
    return 0;
  }

  static Operand Repeated(Operand operand, const Operand& full) {
    for (size_t d = 0; d < full.dims.size(); ++d) {
      if (operand.dims[d] == full.dims[d]) continue;
      operand.dims[d] = full.dims[d];
      operand.strides[d] = 0;
    }
    return operand;
  }
};

}  // namespace

double EstimateNs(const Instruction& instruction, const FormTraits& traits) {
  return std::visit(Estimate{traits.is_slow, traits.is_packed}, instruction);
}

uint64_t EstimateKernelBytes(const Instruction& instruction) {
  // Measured: a primitive of the library with its memories takes 3 to 7 kB, the largest of our own
  // without tables 600 bytes.
  constexpr uint64_t kPrimitive = 8 * kKiB;
  constexpr uint64_t kOwn = kKiB;
  constexpr uint64_t kRow = 24;  // of tables
  const auto rows = [](const Operand& output, size_t columns) {
    return static_cast<uint64_t>(ElementCountOf(output)) /
           static_cast<uint64_t>(output.dims[columns]);
  };
  if (const auto* i = std::get_if<MatMul>(&instruction)) {
    return kPrimitive +
           kRow * (rows(i->c, i->c.dims.size() - 1) + static_cast<uint64_t>(i->c.dims.back()));
  }
  if (const auto* i = std::get_if<Conv2d>(&instruction)) {
    // Our own kernels have one group.
    const uint64_t places = i->groups == 1 ? rows(i->output, 1) : 0;
    return kPrimitive + kRow * (places + static_cast<uint64_t>(i->output.dims[1])) +
           sizeof(uint64_t) * static_cast<uint64_t>(ElementCountOf(i->weights)) /
               static_cast<uint64_t>(i->weights.dims[0]);
  }
  if (const auto* i = std::get_if<LayerNorm>(&instruction))
    return kOwn + 3 * sizeof(float) * static_cast<uint64_t>(i->input.dims.back());
  if (const auto* i = std::get_if<Pool2d>(&instruction)) {
    return kPrimitive +
           2 * sizeof(uint64_t) * static_cast<uint64_t>(i->output.dims[2] + i->output.dims[3]);
  }
  if (std::holds_alternative<Activation>(instruction) ||
      std::holds_alternative<Binary>(instruction))
    return kPrimitive;
  return kOwn;
}

}  // namespace nrtd::sim
