// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/onednn.h"

namespace nrtd::sim {
namespace {

class PoolKernel final : public Kernel {
 public:
  explicit PoolKernel(BoundPrimitive primitive) : primitive_(std::move(primitive)) {}
  bool Run() override { return primitive_.Run(); }
  bool is_slow() const override { return primitive_.is_reference(); }

 private:
  BoundPrimitive primitive_;
};

dnnl::algorithm ToOneDnn(PoolKind kind) {
  switch (kind) {
    case PoolKind::kMax:
      return dnnl::algorithm::pooling_max;
    case PoolKind::kAverageExcludePad:
      return dnnl::algorithm::pooling_avg_exclude_padding;
    case PoolKind::kAverageIncludePad:
      return dnnl::algorithm::pooling_avg_include_padding;
  }
  return dnnl::algorithm::undef;
}

}  // namespace

std::unique_ptr<Kernel> MakePool2d(const Pool2d& pool, const KernelContext& context) {
  const auto input = OperandDesc(pool.input);
  const auto output = OperandDesc(pool.output);
  const dnnl::pooling_forward::desc desc(
      dnnl::prop_kind::forward_inference, ToOneDnn(pool.kind), input, output,
      {pool.strides[0], pool.strides[1]}, {pool.kernel[0], pool.kernel[1]},
      {pool.pads[0], pool.pads[1]}, {pool.pads[2], pool.pads[3]});
  const dnnl::pooling_forward::primitive_desc pd(desc, KernelAttr(), CpuEngine());
  context.scratch->Reserve(pd.scratchpad_desc().get_size());
  BoundPrimitive bound{dnnl::pooling_forward(pd)};
  bound.Bind(DNNL_ARG_SRC, input, context.resolve(pool.input));
  bound.Bind(DNNL_ARG_DST, output, context.resolve(pool.output));
  bound.BindScratch(DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc(), context.scratch, 0);
  return std::make_unique<PoolKernel>(std::move(bound));
}

}  // namespace nrtd::sim
