// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/kernel.h"

#include "driver_shim/sim/kernels/onednn.h"

// From the OpenMP runtime that oneDNN uses; declared here because its header comes with the
// compiler, not the library.
extern "C" void omp_set_num_threads(int count);

namespace nrtd::sim {
namespace {

struct Maker {
  const KernelContext& context;
  std::unique_ptr<Kernel> operator()(const Conv2d& i) const { return MakeConv2d(i, context); }
  std::unique_ptr<Kernel> operator()(const MatMul& i) const { return MakeMatMul(i, context); }
  std::unique_ptr<Kernel> operator()(const Activation& i) const {
    return MakeActivation(i, context);
  }
  std::unique_ptr<Kernel> operator()(const Softmax& i) const { return MakeSoftmax(i, context); }
  std::unique_ptr<Kernel> operator()(const Pool2d& i) const { return MakePool2d(i, context); }
  std::unique_ptr<Kernel> operator()(const Binary& i) const { return MakeBinary(i, context); }
  std::unique_ptr<Kernel> operator()(const Copy& i) const { return MakeCopy(i, context); }
  template <typename Control>
  std::unique_ptr<Kernel> operator()(const Control&) const {
    return nullptr;
  }
};

}  // namespace

Result<std::unique_ptr<Kernel>> MakeKernel(const Instruction& instruction,
                                           const KernelContext& context) {
  try {
    auto kernel = std::visit(Maker{context}, instruction);
    if (kernel == nullptr) {
      return Fail(Nerr::kInvalid, "{} is not a tensor instruction",
                  OpcodeName(OpcodeOf(instruction)));
    }
    return kernel;
  } catch (const dnnl::error& error) {
    return Fail(Nerr::kInvalid, "{}: the arithmetic library refuses it: {}",
                OpcodeName(OpcodeOf(instruction)), error.what());
  } catch (const std::bad_alloc&) {
    return Fail(Nerr::kResource, "{}: out of host memory", OpcodeName(OpcodeOf(instruction)));
  }
}

void UseOneThread() {
  omp_set_num_threads(1);
}

bool HasNativeBFloat16() {
  static const bool native = [] {
    const auto isa = dnnl::get_effective_cpu_isa();
    return isa == dnnl::cpu_isa::avx512_core_bf16 || isa == dnnl::cpu_isa::avx512_core_amx;
  }();
  return native;
}

}  // namespace nrtd::sim
