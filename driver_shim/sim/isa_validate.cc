// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "base/sizes.h"
#include "base/wanted.h"
#include "driver_shim/sim/isa.h"

namespace nrtd::sim {
namespace {

using Dims = std::vector<int64_t>;

enum class Access { kRead, kWrite };

// Limits a dimension, stride and window so that no product of them leaves int64.
constexpr int64_t kMaxExtent = int64_t{1} << 40;

bool IsCastable(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
    case DType::kBFloat16:
    case DType::kFloat16:
    case DType::kFloat64:
    case DType::kInt8:
    case DType::kUInt8:
    case DType::kInt32:
    case DType::kInt64:
    case DType::kBool:
      return true;
    default:
      return false;
  }
}

}  // namespace

class StreamValidator {
 public:
  StreamValidator(const ProgramContext& context, Engine engine)
      : engine_(engine),
        dma_ids_(context.dma_ids[static_cast<size_t>(engine)].begin(),
                 context.dma_ids[static_cast<size_t>(engine)].end()) {
    variables_.reserve(context.variables.size());
    for (const VariableInfo& variable : context.variables)
      variables_.emplace(variable.var_id, &variable);
  }

  Result<void> Check(const Instruction& instruction) {
    NRTD_TRY(
        std::visit([this](const auto& alternative) { return Check(alternative); }, instruction));
    if (const uint64_t macs = MacCount(instruction); macs > kMaxMacs)
      return Fail(Nerr::kInvalid, "{} products are too many, at most {} may be", macs, kMaxMacs);
    if (const uint64_t loads = PooledElements(instruction); loads > kMaxPooled) {
      return Fail(Nerr::kInvalid, "{} elements under windows are too many, at most {} may be",
                  loads, kMaxPooled);
    }
    return {};
  }

 private:
  Result<void> Check(const SemaphoreWait& i) { return CheckSemaphore(i.semaphore); }
  Result<void> Check(const SemaphoreSignal& i) { return CheckSemaphore(i.semaphore); }
  Result<void> Check(const Notify&) { return {}; }
  Result<void> Check(const End&) { return {}; }

  Result<void> Check(const DmaTrigger& i) {
    if (dma_ids_.contains(i.id)) return {};
    return Fail(Nerr::kInvalid, "DMA id {} is not in the JSON of engine {}", i.id,
                EngineName(engine_));
  }

  Result<void> Check(const Conv2d& i) {
    NRTD_TRY(CheckFloat(i.input, "input", Access::kRead, 4));
    NRTD_TRY(CheckWeights(i.weights, "weights", 4));
    NRTD_TRY(CheckFloat(i.output, "output", Access::kWrite, 4));
    NRTD_TRY(CheckPositive(i.strides, "stride"));
    NRTD_TRY(CheckPositive(i.dilations, "dilation"));
    NRTD_TRY(CheckPads(i.pads));
    const Dims& in = i.input.dims;
    const Dims& w = i.weights.dims;
    const Dims& out = i.output.dims;
    if (i.groups < 1 || in[1] % i.groups != 0 || w[0] % i.groups != 0 || w[1] != in[1] / i.groups) {
      return Fail(Nerr::kInvalid, "{} groups do not divide {} input channels into weights {}",
                  i.groups, in[1], ShapeText(w));
    }
    if (out[0] != in[0] || out[1] != w[0]) return ShapesDisagree("output", out, "input", in);
    for (size_t d = 0; d < 2; ++d) {
      const int64_t window = (w[2 + d] - 1) * i.dilations[d] + 1;
      NRTD_TRY(
          CheckWindow({in[2 + d], out[2 + d], window, i.strides[d], i.pads[d], i.pads[2 + d]}));
    }
    if (i.bias) {
      NRTD_TRY(CheckFloat(*i.bias, "bias", Access::kRead, 1));
      if (i.bias->dims[0] != w[0]) return ShapesDisagree("bias", i.bias->dims, "weights", w);
    }
    return {};
  }

  Result<void> Check(const MatMul& i) {
    const size_t rank = i.c.dims.size();
    if (rank < 2) return Fail(Nerr::kInvalid, "c has rank {}, expected 2 to {}", rank, kMaxRank);
    NRTD_TRY(CheckFloat(i.a, "a", Access::kRead, rank));
    NRTD_TRY(CheckWeights(i.b, "b", rank));
    NRTD_TRY(CheckFloat(i.c, "c", Access::kWrite, rank));
    const Dims& a = i.a.dims;
    const Dims& b = i.b.dims;
    const Dims& c = i.c.dims;
    if (a[rank - 2] != c[rank - 2] || b[rank - 1] != c[rank - 1] || a[rank - 1] != b[rank - 2]) {
      return ShapesDisagree("a", a, "b", b);
    }
    for (size_t d = 0; d + 2 < rank; ++d) {
      if ((a[d] != c[d] && a[d] != 1) || (b[d] != c[d] && b[d] != 1))
        return ShapesDisagree("a", a, "c", c);
    }
    if (i.bias) {
      NRTD_TRY(CheckFloat(*i.bias, "bias", Access::kRead, rank));
      NRTD_TRY(CheckRepeats(*i.bias, "bias", c));
    }
    return {};
  }

  Result<void> Check(const Activation& i) { return CheckPair(i.input, i.output); }

  Result<void> Check(const Softmax& i) {
    if (i.axis < 0 || i.axis >= static_cast<int64_t>(i.input.dims.size())) {
      return Fail(Nerr::kInvalid, "axis {} is outside rank {}", i.axis, i.input.dims.size());
    }
    NRTD_TRY(CheckPair(i.input, i.output));
    if (!i.mask) return {};
    NRTD_TRY(CheckFloat(*i.mask, "mask", Access::kRead, i.output.dims.size()));
    return CheckRepeats(*i.mask, "mask", i.output.dims);
  }

  Result<void> Check(const LayerNorm& i) {
    NRTD_TRY(CheckPair(i.input, i.output));
    for (const auto& [operand, role] : {std::pair(&i.scale, "scale"), std::pair(&i.bias, "bias")}) {
      if (!*operand) continue;
      NRTD_TRY(CheckFloat(**operand, role, Access::kRead, 1));
      if ((*operand)->dims[0] != i.input.dims.back())
        return ShapesDisagree(role, (*operand)->dims, "input", i.input.dims);
    }
    return {};
  }

  Result<void> Check(const Pool2d& i) {
    NRTD_TRY(CheckFloat(i.input, "input", Access::kRead, 4));
    NRTD_TRY(CheckFloat(i.output, "output", Access::kWrite, 4));
    NRTD_TRY(CheckPositive(i.kernel, "kernel"));
    NRTD_TRY(CheckPositive(i.strides, "stride"));
    NRTD_TRY(CheckPads(i.pads));
    const Dims& in = i.input.dims;
    const Dims& out = i.output.dims;
    if (out[0] != in[0] || out[1] != in[1]) return ShapesDisagree("output", out, "input", in);
    for (size_t d = 0; d < 2; ++d) {
      const auto without = [&] {
        return Fail(Nerr::kInvalid,
                    "pads {} and {} leave a window of {} with stride {} without an element",
                    i.pads[d], i.pads[2 + d], i.kernel[d], i.strides[d]);
      };
      if (i.pads[d] >= i.kernel[d]) return without();
      NRTD_TRY(CheckWindow(
          {in[2 + d], out[2 + d], i.kernel[d], i.strides[d], i.pads[d], i.pads[2 + d]}));
      if ((out[2 + d] - 1) * i.strides[d] - i.pads[d] >= in[2 + d]) return without();
    }
    return {};
  }

  Result<void> Check(const Binary& i) {
    const size_t rank = i.output.dims.size();
    NRTD_TRY(CheckType(i.output, "output", {DType::kFloat32, DType::kInt32, DType::kInt64}));
    NRTD_TRY(CheckType(i.a, "a", {i.output.dtype}));
    NRTD_TRY(CheckType(i.b, "b", {i.output.dtype}));
    NRTD_TRY(CheckRankAndPlace(i.a, "a", Access::kRead, rank));
    NRTD_TRY(CheckRankAndPlace(i.b, "b", Access::kRead, rank));
    NRTD_TRY(CheckRankAndPlace(i.output, "output", Access::kWrite, rank));
    if (i.a.dims != i.output.dims) return ShapesDisagree("a", i.a.dims, "output", i.output.dims);
    if (i.fused && i.output.dtype != DType::kFloat32)
      return Fail(Nerr::kInvalid, "functions are for float32, not {}", DTypeName(i.output.dtype));
    return CheckRepeats(i.b, "b", i.output.dims);
  }

  Result<void> Check(const Copy& i) {
    NRTD_TRY(CheckOperand(i.input, "input", Access::kRead));
    NRTD_TRY(CheckOperand(i.output, "output", Access::kWrite));
    if (i.input.dims != i.output.dims)
      return ShapesDisagree("input", i.input.dims, "output", i.output.dims);
    if (i.input.dtype != i.output.dtype &&
        !(IsCastable(i.input.dtype) && IsCastable(i.output.dtype))) {
      return Fail(Nerr::kInvalid, "cannot cast {} to {}", DTypeName(i.input.dtype),
                  DTypeName(i.output.dtype));
    }
    return {};
  }

  Result<void> Check(const Gather& i) {
    NRTD_TRY(CheckType(i.indices, "indices", {DType::kInt32, DType::kInt64}));
    NRTD_TRY(CheckType(i.output, "output", {i.table.dtype}));
    NRTD_TRY(CheckRankAndPlace(i.table, "table", Access::kRead, 3));
    NRTD_TRY(CheckRankAndPlace(i.indices, "indices", Access::kRead, 1));
    NRTD_TRY(CheckRankAndPlace(i.output, "output", Access::kWrite, 3));
    const Dims want{i.table.dims[0], i.indices.dims[0], i.table.dims[2]};
    if (i.output.dims != want)
      return ShapesDisagree("output", i.output.dims, "table", i.table.dims);
    return {};
  }

  Result<void> Check(const Reduce& i) {
    const size_t rank = i.input.dims.size();
    NRTD_TRY(CheckFloat(i.input, "input", Access::kRead, rank));
    NRTD_TRY(CheckFloat(i.output, "output", Access::kWrite, rank));
    return CheckRepeats(i.output, "output", i.input.dims);
  }

  Result<void> Check(const Compare& i) {
    NRTD_TRY(CheckType(i.a, "a", {DType::kFloat32, DType::kInt32, DType::kInt64, DType::kBool}));
    NRTD_TRY(CheckType(i.b, "b", {i.a.dtype}));
    NRTD_TRY(CheckType(i.output, "output", {DType::kBool}));
    return CheckEqualDims({&i.a, &i.b}, i.output);
  }

  Result<void> Check(const Select& i) {
    NRTD_TRY(CheckType(i.condition, "condition", {DType::kBool}));
    NRTD_TRY(CheckType(i.a, "a", {i.output.dtype}));
    NRTD_TRY(CheckType(i.b, "b", {i.output.dtype}));
    return CheckEqualDims({&i.condition, &i.a, &i.b}, i.output);
  }

  Result<void> CheckEqualDims(std::initializer_list<const Operand*> inputs, const Operand& output) {
    NRTD_TRY(CheckOperand(output, "output", Access::kWrite));
    for (const Operand* input : inputs) {
      NRTD_TRY(CheckOperand(*input, "input", Access::kRead));
      if (input->dims != output.dims)
        return ShapesDisagree("input", input->dims, "output", output.dims);
    }
    return {};
  }

  static Result<void> CheckType(const Operand& operand, std::string_view role,
                                std::initializer_list<DType> allowed) {
    if (std::find(allowed.begin(), allowed.end(), operand.dtype) != allowed.end()) return {};
    std::string names;
    for (DType dtype : allowed)
      names += fmt::format("{}{}", names.empty() ? "" : ", ", DTypeName(dtype));
    return Fail(Nerr::kInvalid, "{} is {}, expected {}", role, DTypeName(operand.dtype), names);
  }

  Result<void> CheckSemaphore(uint8_t semaphore) {
    if (semaphore < kSemaphores) return {};
    return Fail(Nerr::kInvalid, "semaphore {} does not exist, a core has {}", semaphore,
                kSemaphores);
  }

  Result<void> CheckPair(const Operand& input, const Operand& output) {
    NRTD_TRY(CheckFloat(input, "input", Access::kRead, output.dims.size()));
    NRTD_TRY(CheckFloat(output, "output", Access::kWrite, output.dims.size()));
    if (input.dims != output.dims)
      return ShapesDisagree("input", input.dims, "output", output.dims);
    return {};
  }

  Result<void> CheckFloat(const Operand& operand, std::string_view role, Access access,
                          size_t rank) {
    if (operand.dtype != DType::kFloat32) {
      return Fail(Nerr::kInvalid, "{} is {}, expected float32", role, DTypeName(operand.dtype));
    }
    return CheckRankAndPlace(operand, role, access, rank);
  }

  // float32 from anywhere, or bfloat16 that nothing writes (it is packed once, when the program is
  // loaded).
  Result<void> CheckWeights(const Operand& operand, std::string_view role, size_t rank) {
    const VariableInfo* variable = Find(operand.var_id);
    const bool constant = variable != nullptr && variable->readable && !variable->writable;
    if (operand.dtype != DType::kFloat32 && !(operand.dtype == DType::kBFloat16 && constant)) {
      return Fail(Nerr::kInvalid, "{} is {}, expected float32, or bfloat16 in a file variable",
                  role, DTypeName(operand.dtype));
    }
    return CheckRankAndPlace(operand, role, Access::kRead, rank);
  }

  Result<void> CheckRankAndPlace(const Operand& operand, std::string_view role, Access access,
                                 size_t rank) {
    if (operand.dims.size() != rank) {
      return Fail(Nerr::kInvalid, "{} has rank {}, expected {}", role, operand.dims.size(), rank);
    }
    return CheckOperand(operand, role, access);
  }

  Result<void> CheckOperand(const Operand& operand, std::string_view role, Access access) {
    const VariableInfo* variable = Find(operand.var_id);
    if (variable == nullptr)
      return Fail(Nerr::kInvalid, "{} names the unknown variable {}", role, operand.var_id);
    if (!variable->readable) {
      return Fail(Nerr::kInvalid, "{} names variable {}, which only DMA may touch", role,
                  operand.var_id);
    }
    if (access == Access::kWrite && !variable->writable) {
      return Fail(Nerr::kInvalid, "{} would write variable {}, which is read-only", role,
                  operand.var_id);
    }
    const uint64_t element = DTypeSize(operand.dtype);
    if (operand.offset % element != 0) {
      return Fail(Nerr::kInvalid, "{}: address offset {} must be {} byte aligned", role,
                  operand.offset, element);
    }
    NRTD_ASSIGN(const uint64_t span, SpanBytes(operand, role, access));
    if (!RangeFits(operand.offset, span, variable->size)) {
      return Fail(Nerr::kInvalid, "{} needs bytes {} to {} of variable {}, which has {}", role,
                  operand.offset, operand.offset + span, operand.var_id, variable->size);
    }
    return {};
  }

  // Bytes from the first element to the end of the last one.
  static Result<uint64_t> SpanBytes(const Operand& operand, std::string_view role, Access access) {
    uint64_t last = 0;
    for (size_t d = 0; d < operand.dims.size(); ++d) {
      const int64_t dimension = operand.dims[d];
      const int64_t stride = operand.strides[d];
      if (dimension < 1 || dimension > kMaxExtent || stride < 0 || stride > kMaxExtent) {
        return Fail(Nerr::kInvalid, "{} has dimension {} with stride {}", role, dimension, stride);
      }
      const auto reach =
          CheckedMultiply(static_cast<uint64_t>(dimension - 1), static_cast<uint64_t>(stride));
      const auto sum = reach ? CheckedAdd(last, *reach) : std::nullopt;
      if (!sum || *sum > static_cast<uint64_t>(kMaxExtent)) {
        return Fail(Nerr::kInvalid, "{} spans more than {} elements", role, kMaxExtent);
      }
      last = *sum;
    }
    // A stride of 0 repeats elements, which span nothing.
    const auto count = ElementCount(operand.dims);
    if (!count || *count > kMaxElements)
      return Fail(Nerr::kInvalid, "{} has more than {} elements", role, kMaxElements);
    if (access == Access::kWrite) {
      NRTD_TRY(CheckNoOverlap(operand, role));
    }
    return (last + 1) * DTypeSize(operand.dtype);
  }

  // Sorted by stride, every dimension must step over all that the smaller ones reach.
  static Result<void> CheckNoOverlap(const Operand& operand, std::string_view role) {
    std::vector<std::pair<int64_t, int64_t>> by_stride;
    for (size_t d = 0; d < operand.dims.size(); ++d) {
      if (operand.dims[d] > 1) by_stride.emplace_back(operand.strides[d], operand.dims[d]);
    }
    std::sort(by_stride.begin(), by_stride.end());
    int64_t reach = 1;
    for (const auto& [stride, dimension] : by_stride) {
      if (stride < reach)
        return Fail(Nerr::kInvalid, "{} overlaps itself: a stride of {}", role, stride);
      reach += (dimension - 1) * stride;
    }
    return {};
  }

  static Result<void> CheckRepeats(const Operand& operand, std::string_view role,
                                   const Dims& full) {
    for (size_t d = 0; d < full.size(); ++d) {
      if (operand.dims[d] != full[d] && operand.dims[d] != 1) {
        return ShapesDisagree(role, operand.dims, "output", full);
      }
    }
    return {};
  }

  static Result<void> CheckPositive(const std::array<int64_t, 2>& values, std::string_view what) {
    for (int64_t value : values) {
      if (value < 1 || value > INT32_MAX)
        return Fail(Nerr::kInvalid, "{} {} is not in 1 to {}", what, value, INT32_MAX);
    }
    return {};
  }

  static Result<void> CheckPads(const std::array<int64_t, 4>& pads) {
    for (int64_t pad : pads) {
      if (pad < 0 || pad > INT32_MAX)
        return Fail(Nerr::kInvalid, "pad {} is not in 0 to {}", pad, INT32_MAX);
    }
    return {};
  }

  struct Window {
    int64_t input, output, window, stride, pad_before, pad_after;
  };
  static Result<void> CheckWindow(const Window& w) {
    const int64_t room = w.input + w.pad_before + w.pad_after - w.window;
    if (w.window >= 1 && room >= 0 && w.output == room / w.stride + 1) return {};
    return Fail(
        Nerr::kInvalid,
        "a window of {} with stride {} over {} elements padded by {} and {} does not give {}",
        w.window, w.stride, w.input, w.pad_before, w.pad_after, w.output);
  }

  static tl::unexpected<Error> ShapesDisagree(std::string_view one, const Dims& a,
                                              std::string_view other, const Dims& b) {
    return Fail(Nerr::kInvalid, "{} {} does not fit {} {}", one, ShapeText(a), other, ShapeText(b));
  }

  const VariableInfo* Find(uint32_t var_id) const {
    const auto found = variables_.find(var_id);
    return found != variables_.end() ? found->second : nullptr;
  }

  const Engine engine_;
  const std::unordered_set<uint32_t> dma_ids_;
  std::unordered_map<uint32_t, const VariableInfo*> variables_;
};

Validator::Validator(const ProgramContext& context, Engine engine)
    : engine_(engine), validator_(std::make_unique<StreamValidator>(context, engine)) {}
Validator::~Validator() = default;

Result<void> Validator::Check(const Instruction& instruction, size_t index) {
  auto checked = validator_->Check(instruction);
  if (checked) return {};
  return tl::unexpected<Error>(std::move(checked.error())
                                   .In(fmt::format("{} instruction {} ({})", EngineName(engine_),
                                                   index, OpcodeName(OpcodeOf(instruction)))));
}

Result<void> Validate(const Stream& stream, const ProgramContext& context,
                      const std::stop_token& stop) {
  Validator validator(context, stream.engine);
  for (size_t i = 0; i < stream.instructions.size(); ++i) {
    NRTD_TRY(CheckWanted(stop));
    NRTD_TRY(validator.Check(stream.instructions[i], i));
  }
  return {};
}

}  // namespace nrtd::sim
