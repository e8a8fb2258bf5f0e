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
// A cache line that is read in order, of 64 bytes; one that nothing could fetch ahead.
constexpr double kLineBytes = 64;
constexpr double kLineNs = 6;
constexpr double kFarLineNs = 100;
constexpr double kFarBytes = 512;  // from this stride on
// A page of 4 KiB that is touched for the first time (simulated DRAM is sparse).
constexpr double kPageBytes = 4096;
constexpr double kPageNs = 1500;
// A product. Few channels use few of a vector's lanes; reference code works out every address.
constexpr double kFloatMacNs = 0.04;
constexpr double kBFloat16MacNs = 0.02;
constexpr double kNarrowMacNs = 0.6;
constexpr int64_t kNarrowChannels = 8;
constexpr double kSlowNs = 40;   // a product, or an element, of reference code
constexpr double kWindowNs = 2;  // an element under a window
// Functions that are not made of additions and comparisons; powers.
constexpr double kFunctionNs = 25;
constexpr double kPowerNs = 150;
constexpr double kSoftmaxNs = 10;
constexpr double kStridedExpNs = 25;
// Products and convolutions have tables of their rows.
constexpr double kMostRows = 65'536;

double Elements(const Operand& operand) {
  return static_cast<double>(ElementCount(operand.dims).value_or(UINT64_MAX));
}

// One step of so many bytes.
double StepNs(double bytes) {
  double ns = kElementNs + std::min(bytes / kLineBytes, 1.0) * kLineNs +
              std::min(bytes / kPageBytes, 1.0) * kPageNs;
  if (bytes >= kFarBytes) ns += kFarLineNs;
  return ns;
}
double StepNs(const Operand& operand, size_t dimension) {
  return StepNs(static_cast<double>(operand.strides[dimension]) *
                static_cast<double>(DTypeSize(operand.dtype)));
}

// Touching every element once: in the order of the dimensions, or in the order of the strides.
double WalkNs(const Operand& operand, bool in_best_order = false) {
  std::vector<std::pair<double, double>> axes;  // stride in bytes, size; innermost first
  for (size_t d = operand.dims.size(); d-- > 0;) {
    if (operand.dims[d] == 1) continue;
    axes.emplace_back(
        static_cast<double>(operand.strides[d]) * static_cast<double>(DTypeSize(operand.dtype)),
        static_cast<double>(operand.dims[d]));
  }
  if (in_best_order) std::sort(axes.begin(), axes.end());
  double an_element = kElementNs;
  double inner = 1;
  for (const auto& [stride, size] : axes) {
    an_element += StepNs(stride) / inner;
    inner *= size;
  }
  return an_element * inner;
}
double WalkNs(const std::optional<Operand>& operand) {
  return operand ? WalkNs(*operand) : 0;
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
  return WalkNs(output) + Elements(output) * (IsSimple(fused->function) ? 1 : kFunctionNs);
}

struct Estimate {
  bool is_slow;
  bool is_packed;

  double WeightsNs(const Operand& weights) const {
    return is_packed ? Elements(weights) * kPackedNs : WalkNs(weights, true);
  }

  double operator()(const MatMul& i) const {
    const auto macs = static_cast<double>(MacCount(i));
    const size_t rank = i.c.dims.size();
    const double rows = Elements(i.c) / static_cast<double>(i.c.dims.back());
    const double tables = rows / kMostRows * kPieceNs;
    const double walks = WalkNs(i.a, true) + WeightsNs(i.b) + WalkNs(i.c, true) + WalkNs(i.bias) +
                         FusedNs(i.fused, i.c);
    double mac = i.precision == Precision::kBFloat16 ? kBFloat16MacNs : kFloatMacNs;
    if (i.c.dims.back() < kNarrowChannels || i.c.dims[rank - 2] < kNarrowChannels)
      mac = kNarrowMacNs;
    if (is_slow) mac = kSlowNs + StepNs(i.a, rank - 1) + StepNs(i.b, rank - 2);
    return std::max(tables, walks + macs * mac);
  }
  double operator()(const Conv2d& i) const {
    const auto macs = static_cast<double>(MacCount(i));
    const double places = Elements(i.output) / static_cast<double>(i.output.dims[1]);
    const double tables = places / kMostRows * kPieceNs;
    const double padding = static_cast<double>((i.input.dims[2] + i.pads[0] + i.pads[2])) *
                           static_cast<double>((i.input.dims[3] + i.pads[1] + i.pads[3])) *
                           static_cast<double>(i.input.dims[0] * i.input.dims[1]);
    const double walks = WalkNs(i.input, true) + WeightsNs(i.weights) + WalkNs(i.output, true) +
                         padding + FusedNs(i.fused, i.output);
    double mac = i.precision == Precision::kBFloat16 ? kBFloat16MacNs : kFloatMacNs;
    if (i.weights.dims[1] < kNarrowChannels || i.weights.dims[0] / i.groups < kNarrowChannels)
      mac = kNarrowMacNs;
    if (is_slow) mac = kSlowNs + StepNs(i.input, 3) + StepNs(i.weights, 3);
    return std::max(tables, walks + macs * mac);
  }
  double operator()(const Pool2d& i) const {
    const double element = is_slow ? kSlowNs + StepNs(i.input, 3) : kWindowNs;
    return WalkNs(i.input, true) + WalkNs(i.output, true) +
           static_cast<double>(PooledElements(i)) * element;
  }
  double operator()(const Softmax& i) const {
    const auto axis = static_cast<size_t>(i.axis);
    const bool rows = i.input.strides[axis] == 1 && i.output.strides[axis] == 1;
    // Along the axis, which is the innermost loop: to write z, then e, then e / sum.
    const double step =
        StepNs(i.input, axis) + 3 * StepNs(i.output, axis) + (i.mask ? StepNs(*i.mask, axis) : 0);
    return Elements(i.output) * (step + (rows ? kSoftmaxNs : kStridedExpNs)) + WalkNs(i.output) +
           WalkNs(i.input) + WalkNs(i.mask);
  }
  double operator()(const LayerNorm& i) const {
    return 3 * WalkNs(i.input) + 2 * WalkNs(i.output) + WalkNs(i.scale) + WalkNs(i.bias);
  }
  double operator()(const Activation& i) const {
    return WalkNs(i.input) + WalkNs(i.output) +
           Elements(i.output) *
               ((IsSimple(i.function) ? 1 : kFunctionNs) + (is_slow ? kSlowNs : 0));
  }
  double operator()(const Binary& i) const {
    return WalkNs(i.a) + WalkNs(Repeated(i.b, i.output)) + WalkNs(i.output) +
           Elements(i.output) * ((i.function == BinaryFunction::kPower    ? kPowerNs
                                  : i.function == BinaryFunction::kDivide ? kFunctionNs
                                                                          : 1) +
                                 (is_slow ? kSlowNs : 0)) +
           FusedNs(i.fused, i.output);
  }
  double operator()(const Copy& i) const {
    return WalkNs(i.input) + WalkNs(i.output) +
           Elements(i.output) * (i.input.dtype == i.output.dtype ? 0 : 3);
  }
  double operator()(const Gather& i) const {
    // Rows are anywhere in the table.
    const double far = StepNs(kPageBytes) * static_cast<double>(i.output.dims[0]) *
                       static_cast<double>(i.output.dims[1]);
    Operand rows = i.table;
    rows.dims = i.output.dims;
    rows.strides[0] = rows.strides[1] = 0;
    return far + WalkNs(rows) + WalkNs(i.indices) + WalkNs(i.output);
  }
  double operator()(const Reduce& i) const {
    return WalkNs(i.input) + 2 * WalkNs(i.output) + WalkNs(Repeated(i.output, i.input)) +
           Elements(i.input) * kChainNs;
  }
  double operator()(const Compare& i) const {
    return WalkNs(i.a) + WalkNs(i.b) + WalkNs(i.output) + Elements(i.output);
  }
  double operator()(const Select& i) const {
    return WalkNs(i.condition) + WalkNs(i.a) + WalkNs(i.b) + WalkNs(i.output) + Elements(i.output);
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
    return static_cast<uint64_t>(Elements(output)) / static_cast<uint64_t>(output.dims[columns]);
  };
  if (const auto* i = std::get_if<MatMul>(&instruction)) {
    return kPrimitive +
           kRow * (rows(i->c, i->c.dims.size() - 1) + static_cast<uint64_t>(i->c.dims.back()));
  }
  if (const auto* i = std::get_if<Conv2d>(&instruction)) {
    // Our own kernels have one group.
    const uint64_t places = i->groups == 1 ? rows(i->output, 1) : 0;
    return kPrimitive + kRow * (places + static_cast<uint64_t>(i->output.dims[1])) +
           sizeof(uint64_t) * static_cast<uint64_t>(Elements(i->weights)) /
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
