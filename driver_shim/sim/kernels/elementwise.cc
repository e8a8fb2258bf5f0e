// SPDX-License-Identifier: Apache-2.0
//
// ACT's functions, POOL's pairs.
#include "driver_shim/sim/kernels/onednn.h"

namespace nrtd::sim {
namespace {

using dnnl::algorithm;

// Runs a kernel that may first need its input moved to where it works in place.
class MovedKernel final : public Kernel {
 public:
  MovedKernel(std::unique_ptr<Kernel> first, BoundPrimitive second)
      : first_(std::move(first)), second_(std::move(second)) {}
  bool Run() override { return (first_ == nullptr || first_->Run()) && second_.Run(); }
  bool is_slow() const override { return second_.is_reference(); }

 private:
  std::unique_ptr<Kernel> first_;
  BoundPrimitive second_;
};

algorithm ToOneDnn(BinaryFunction function) {
  switch (function) {
    case BinaryFunction::kAdd:
      return algorithm::binary_add;
    case BinaryFunction::kSubtract:
      return algorithm::binary_sub;
    case BinaryFunction::kMultiply:
      return algorithm::binary_mul;
    case BinaryFunction::kDivide:
      return algorithm::binary_div;
    case BinaryFunction::kMaximum:
      return algorithm::binary_max;
    case BinaryFunction::kMinimum:
      return algorithm::binary_min;
    case BinaryFunction::kPower:
      break;
  }
  return algorithm::undef;
}

// oneDNN describes source and target of these by one layout: where the layouts differ, the input is
// copied into the output first and the primitive works there.
std::unique_ptr<Kernel> WithOneLayout(const Operand& input, const Operand& output,
                                      dnnl::primitive primitive,
                                      const dnnl::memory::desc& scratchpad,
                                      const KernelContext& context) {
  std::unique_ptr<Kernel> move;
  Address source = context.resolve(input);
  const Address target = context.resolve(output);
  if (input.strides != output.strides) {
    move = MakeCopy({input, output}, context);
    source = target;
  }
  context.scratch->Reserve(scratchpad.get_size());
  BoundPrimitive bound(std::move(primitive));
  bound.Bind(DNNL_ARG_SRC, OperandDesc(output), source);
  bound.Bind(DNNL_ARG_DST, OperandDesc(output), target);
  bound.BindScratch(DNNL_ARG_SCRATCHPAD, scratchpad, context.scratch, 0);
  return std::make_unique<MovedKernel>(std::move(move), std::move(bound));
}

}  // namespace

OneDnnFunction ToOneDnn(Function function, float alpha, float beta) {
  switch (function) {
    case Function::kRelu:
      return {algorithm::eltwise_relu, 0, 0};
    case Function::kLeakyRelu:
      return {algorithm::eltwise_relu, alpha, 0};
    case Function::kClip:
      return {algorithm::eltwise_clip, alpha, beta};
    case Function::kSigmoid:
      return {algorithm::eltwise_logistic, 0, 0};
    case Function::kTanh:
      return {algorithm::eltwise_tanh, 0, 0};
    case Function::kExp:
      return {algorithm::eltwise_exp, 0, 0};
    case Function::kLog:
      return {algorithm::eltwise_log, 0, 0};
    case Function::kSqrt:
      return {algorithm::eltwise_sqrt, 0, 0};
    case Function::kAbs:
      return {algorithm::eltwise_abs, 0, 0};
    case Function::kGeluErf:
      return {algorithm::eltwise_gelu_erf, 0, 0};
    case Function::kLinear:
      return {algorithm::eltwise_linear, alpha, beta};
    case Function::kErf:
    case Function::kFloor:
    case Function::kCeil:
    case Function::kElu:
    case Function::kSoftplus:
    case Function::kReciprocal:
      break;
  }
  return {algorithm::undef, 0, 0};
}

dnnl::primitive_attr AttrWith(const std::optional<Fused>& fused) {
  dnnl::primitive_attr attr = KernelAttr();
  if (!fused) return attr;
  const OneDnnFunction f = ToOneDnn(fused->function, fused->alpha, fused->beta);
  dnnl::post_ops post_ops;
  post_ops.append_eltwise(1, f.kind, f.alpha, f.beta);
  attr.set_post_ops(post_ops);
  return attr;
}

std::unique_ptr<Kernel> MakeActivation(const Activation& activation, const KernelContext& context) {
  if (auto mapped = MakeMappedActivation(activation, context)) return mapped;
  const OneDnnFunction f = ToOneDnn(activation.function, activation.alpha, activation.beta);
  const dnnl::eltwise_forward::desc desc(dnnl::prop_kind::forward_inference, f.kind,
                                         OperandDesc(activation.output), f.alpha, f.beta);
  const dnnl::eltwise_forward::primitive_desc pd(desc, KernelAttr(), CpuEngine());
  return WithOneLayout(activation.input, activation.output, dnnl::eltwise_forward(pd),
                       pd.scratchpad_desc(), context);
}

std::unique_ptr<Kernel> MakeBinary(const Binary& binary, const KernelContext& context) {
  if (auto mapped = MakeMappedBinary(binary, context)) return mapped;
  const auto a = OperandDesc(binary.a);
  const auto b = OperandDesc(binary.b);
  const auto output = OperandDesc(binary.output);
  const dnnl::binary::desc desc(ToOneDnn(binary.function), a, b, output);
  const dnnl::binary::primitive_desc pd(desc, AttrWith(binary.fused), CpuEngine());
  context.scratch->Reserve(pd.scratchpad_desc().get_size());
  BoundPrimitive bound{dnnl::binary(pd)};
  bound.Bind(DNNL_ARG_SRC_0, a, context.resolve(binary.a));
  bound.Bind(DNNL_ARG_SRC_1, b, context.resolve(binary.b));
  bound.Bind(DNNL_ARG_DST, output, context.resolve(binary.output));
  bound.BindScratch(DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc(), context.scratch, 0);
  return std::make_unique<MovedKernel>(nullptr, std::move(bound));
}

}  // namespace nrtd::sim
