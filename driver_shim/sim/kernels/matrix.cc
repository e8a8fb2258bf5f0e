// SPDX-License-Identifier: Apache-2.0
//
// PE: matrix multiply and convolution, in float32 or with operands rounded to bfloat16.
//
// bfloat16 comes in two ways with the same products: where the CPU multiplies bfloat16, operands
// are converted and oneDNN's bfloat16 primitives run; elsewhere operands are rounded to bfloat16
// but stay float32 in memory, and the float32 primitive runs. A product of two bfloat16 values is
// exact in float32, so only the order of additions differs.
#include <cstring>

#include "driver_shim/sim/kernels/onednn.h"
#include "driver_shim/sim/kernels/operand_values.h"

namespace nrtd::sim {
namespace {

using dnnl::memory;
using DataType = memory::data_type;

constexpr uint64_t kAlignment = 64;

// An operand that changes from execution to execution, in the form that the primitive reads.
class LiveOperand {
 public:
  // `scratch_at` is where the operand's converted form starts in scratch memory; moved behind it.
  LiveOperand(const Operand& operand, Precision precision, const KernelContext& context,
              uint64_t* scratch_at)
      : address_(context.resolve(operand)),
        span_(SpanElements(operand)),
        scratch_(context.scratch),
        offset_(*scratch_at) {
    if (precision == Precision::kFloat32) return;
    mode_ = HasNativeBFloat16() ? Mode::kConvert : Mode::kRound;
    desc_ = OperandDesc(operand, mode_ == Mode::kConvert ? DataType::bf16 : DataType::f32);
    *scratch_at = AlignUp64(offset_ + span_ * sizeof(float));
    if (mode_ == Mode::kConvert) {
      const auto from = OperandDesc(operand);
      convert_ = BoundPrimitive(dnnl::reorder(
          dnnl::reorder::primitive_desc(CpuEngine(), from, CpuEngine(), desc_, KernelAttr())));
      convert_.Bind(DNNL_ARG_FROM, from, address_);
      convert_.BindScratch(DNNL_ARG_TO, desc_, scratch_, offset_);
    }
  }

  void BindTo(BoundPrimitive& primitive, int argument, const memory::desc& desc) const {
    if (mode_ == Mode::kDirect) {
      primitive.Bind(argument, desc, address_);
    } else {
      primitive.BindScratch(argument, desc, scratch_, offset_);
    }
  }

  bool Prepare() {
    if (mode_ == Mode::kConvert) return convert_.Run();
    if (mode_ == Mode::kRound)
      RoundRun(DataRef<const float>(address_), reinterpret_cast<float*>(scratch_->data() + offset_),
               span_);
    return true;
  }

  static uint64_t AlignUp64(uint64_t value) { return (value + kAlignment - 1) & ~(kAlignment - 1); }

 private:
  enum class Mode { kDirect, kRound, kConvert };
  Mode mode_ = Mode::kDirect;
  Address address_;
  uint64_t span_;
  Scratch* scratch_;
  uint64_t offset_;
  memory::desc desc_;
  BoundPrimitive convert_;
};

DataType ComputeType(Precision precision) {
  return UsesBFloat16(precision) ? DataType::bf16 : DataType::f32;
}

// The operand's span as it lies, in `type`. Not the library's work: it does not count what a target
// takes whose elements are repeated.
void ConvertSpan(const float* from, uint64_t count, DataType type, std::byte* to) {
  if (type == DataType::f32) {
    std::memcpy(to, from, count * sizeof(float));
    return;
  }
  auto* halves = reinterpret_cast<uint16_t*>(to);
  for (uint64_t i = 0; i < count; ++i) halves[i] = FloatToBFloat16(from[i]);
}

// Constant weights in the layout that the primitive asks for. `plain` describes the operand as
// float32, `as_they_lie` in the type to multiply, in the primitive's number of dimensions.
std::shared_ptr<const PackedWeights> PackConstant(const Operand& operand, Precision precision,
                                                  const memory::desc& plain,
                                                  const memory::desc& as_they_lie,
                                                  const memory::desc& wanted,
                                                  const KernelContext& context) {
  const auto raw = [](const memory::desc& desc) {
    return std::string(reinterpret_cast<const char*>(&desc.data), sizeof(desc.data));
  };
  const std::string form =
      fmt::format("{}/", static_cast<int>(precision)) + raw(plain) + raw(wanted);
  return PackOnce(operand, form, context, [&](const std::byte* data) {
    const WeightValues values(operand, precision, data);
    const bool lies = wanted == as_they_lie;
    const uint64_t span = SpanElements(operand);
    PackedWeights result(lies ? span * memory::data_type_size(wanted.data_type())
                              : wanted.get_size());
    if (lies) {
      ConvertSpan(values.data(), span, wanted.data_type(), result.data());
    } else {
      ReorderNow(plain, values.data(), wanted, result.data());
    }
    return result;
  });
}

class MatrixKernel final : public Kernel {
 public:
  std::vector<LiveOperand> live;
  std::shared_ptr<const PackedWeights> weights;
  BoundPrimitive primitive;

  bool Run() override {
    for (LiveOperand& operand : live) {
      if (!operand.Prepare()) return false;
    }
    return primitive.Run();
  }
  bool is_slow() const override { return primitive.is_reference(); }
};

void BindScratchpad(BoundPrimitive& primitive, const memory::desc& scratchpad, uint64_t at,
                    const KernelContext& context) {
  context.scratch->Reserve(at + scratchpad.get_size());
  primitive.BindScratch(DNNL_ARG_SCRATCHPAD, scratchpad, context.scratch, at);
}

// oneDNN wants grouped weights as [G, O/G, I/G, KH, KW].
memory::desc GroupedDesc(const Conv2d& conv, DataType type) {
  const Operand& w = conv.weights;
  if (conv.groups == 1) return OperandDesc(w, type);
  const int64_t outputs = w.dims[0] / conv.groups;
  return {
      memory::dims{conv.groups, outputs, w.dims[1], w.dims[2], w.dims[3]}, type,
      memory::dims{outputs * w.strides[0], w.strides[0], w.strides[1], w.strides[2], w.strides[3]}};
}

// A tensor of these dimensions in whatever layout the primitive likes best.
memory::desc AnyLayout(const memory::desc& like, DataType type) {
  return {like.dims(), type, memory::format_tag::any};
}

// The primitive for constant weights in the layout that it likes best, if that is not out of
// proportion; otherwise for weights as they lie.
template <typename Make>
auto ChooseLayout(const Operand& weights, bool constant, const Make& primitive_for,
                  const memory::desc& best, const memory::desc& as_they_lie) {
  if (constant) {
    auto primitive = primitive_for(best);
    if (!PacksTooMuch(weights, primitive.weights_desc().get_size())) return primitive;
  }
  return primitive_for(as_they_lie);
}

// A dimension of 1 steps nowhere, so its stride may be anything; the library takes that of a matrix
// with one row for the distance of rows, and fails when it runs if they would overlap.
Operand WithPlainSteps(Operand matrix) {
  for (size_t d = matrix.dims.size(); d-- > 0;) {
    if (matrix.dims[d] != 1) continue;
    matrix.strides[d] = d + 1 < matrix.dims.size()
                            ? matrix.dims[d + 1] * std::max<int64_t>(matrix.strides[d + 1], 1)
                            : 1;
  }
  return matrix;
}

}  // namespace

std::unique_ptr<Kernel> MakeConv2d(const Conv2d& conv, const KernelContext& context) {
  const DataType type = ComputeType(conv.precision);
  const auto plain_weights = GroupedDesc(conv, DataType::f32);
  const auto weights_as_they_lie = GroupedDesc(conv, type);
  const auto input = OperandDesc(conv.input, type);
  const auto output = OperandDesc(conv.output);
  const auto bias = conv.bias ? OperandDesc(*conv.bias) : memory::desc();
  const bool constant = context.constant(conv.weights.var_id);
  const auto primitive_for = [&](const memory::desc& weights) {
    const dnnl::convolution_forward::desc desc(
        dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct, input, weights,
        bias, output, {conv.strides[0], conv.strides[1]},
        {conv.dilations[0] - 1, conv.dilations[1] - 1}, {conv.pads[0], conv.pads[1]},
        {conv.pads[2], conv.pads[3]});
    return dnnl::convolution_forward::primitive_desc(desc, AttrWith(conv.fused), CpuEngine());
  };
  const auto pd = ChooseLayout(conv.weights, constant, primitive_for,
                               AnyLayout(plain_weights, type), weights_as_they_lie);

  auto kernel = std::make_unique<MatrixKernel>();
  kernel->primitive = BoundPrimitive(dnnl::convolution_forward(pd));
  uint64_t scratch_at = 0;
  kernel->live.emplace_back(conv.input, conv.precision, context, &scratch_at);
  kernel->live.back().BindTo(kernel->primitive, DNNL_ARG_SRC, input);
  if (constant) {
    kernel->weights = PackConstant(conv.weights, conv.precision, plain_weights, weights_as_they_lie,
                                   pd.weights_desc(), context);
    kernel->primitive.Bind(DNNL_ARG_WEIGHTS, pd.weights_desc(), kernel->weights->data());
  } else {
    kernel->live.emplace_back(conv.weights, conv.precision, context, &scratch_at);
    kernel->live.back().BindTo(kernel->primitive, DNNL_ARG_WEIGHTS, pd.weights_desc());
  }
  if (conv.bias) kernel->primitive.Bind(DNNL_ARG_BIAS, bias, context.resolve(*conv.bias));
  kernel->primitive.Bind(DNNL_ARG_DST, output, context.resolve(conv.output));
  BindScratchpad(kernel->primitive, pd.scratchpad_desc(), scratch_at, context);
  return kernel;
}

std::unique_ptr<Kernel> MakeMatMul(const MatMul& given, const KernelContext& context) {
  MatMul matmul = given;
  for (Operand* operand : {&matmul.a, &matmul.b, &matmul.c}) *operand = WithPlainSteps(*operand);
  const DataType type = ComputeType(matmul.precision);
  const auto a = OperandDesc(matmul.a, type);
  const auto plain_b = OperandDesc(matmul.b);
  const auto c = OperandDesc(matmul.c);
  const bool constant = context.constant(matmul.b.var_id);
  const auto b = OperandDesc(matmul.b, type);
  const auto bias = matmul.bias ? OperandDesc(*matmul.bias) : memory::desc();
  const auto primitive_for = [&](const memory::desc& weights) {
    const auto desc =
        matmul.bias ? dnnl::matmul::desc(a, weights, bias, c) : dnnl::matmul::desc(a, weights, c);
    return dnnl::matmul::primitive_desc(desc, AttrWith(matmul.fused), CpuEngine());
  };
  const auto pd = ChooseLayout(matmul.b, constant, primitive_for, AnyLayout(plain_b, type), b);

  auto kernel = std::make_unique<MatrixKernel>();
  kernel->primitive = BoundPrimitive(dnnl::matmul(pd));
  uint64_t scratch_at = 0;
  kernel->live.emplace_back(matmul.a, matmul.precision, context, &scratch_at);
  kernel->live.back().BindTo(kernel->primitive, DNNL_ARG_SRC, a);
  if (constant) {
    kernel->weights =
        PackConstant(matmul.b, matmul.precision, plain_b, b, pd.weights_desc(), context);
    kernel->primitive.Bind(DNNL_ARG_WEIGHTS, pd.weights_desc(), kernel->weights->data());
  } else {
    kernel->live.emplace_back(matmul.b, matmul.precision, context, &scratch_at);
    kernel->live.back().BindTo(kernel->primitive, DNNL_ARG_WEIGHTS, b);
  }
  if (matmul.bias) kernel->primitive.Bind(DNNL_ARG_BIAS, bias, context.resolve(*matmul.bias));
  kernel->primitive.Bind(DNNL_ARG_DST, c, context.resolve(matmul.c));
  BindScratchpad(kernel->primitive, pd.scratchpad_desc(), scratch_at, context);
  return kernel;
}

}  // namespace nrtd::sim
