// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/kernel.h"

#include <utility>

#include <fmt/ranges.h>

#include "base/digest.h"
#include "driver_shim/sim/kernels/onednn.h"
#include "driver_shim/sim/kernels/operand_values.h"
#include "driver_shim/sim/kernels/small.h"

// From the OpenMP runtime that oneDNN uses; declared here because its header comes with the
// compiler, not the library.
extern "C" void omp_set_num_threads(int count);

namespace nrtd::sim {
namespace {

// One after the other.
class SequenceKernel final : public Kernel {
 public:
  SequenceKernel(std::unique_ptr<Kernel> first, std::unique_ptr<Kernel> second)
      : first_(std::move(first)), second_(std::move(second)) {}
  bool Run() override { return first_->Run() && second_->Run(); }

 private:
  std::unique_ptr<Kernel> first_;
  std::unique_ptr<Kernel> second_;
};

// A small kernel where there is one and it is better, the library's otherwise.
struct Maker {
  const KernelContext& context;

  template <typename I>
  using Make = std::unique_ptr<Kernel> (*)(const I&, const KernelContext&);
  template <typename I>
  std::unique_ptr<Kernel> Choose(const I& i, Make<I> small, Make<I> library) const {
    auto kernel = context.small_kernels ? small(i, context) : nullptr;
    return kernel != nullptr ? std::move(kernel) : library(i, context);
  }

  // oneDNN applies a function on the way out, if it has it; behind the others it is applied to what
  // they have written.
  template <typename I>
  std::unique_ptr<Kernel> Multiply(I i, const Operand& output, Make<I> small,
                                   Make<I> library) const {
    const std::optional<Fused> fused = std::exchange(i.fused, std::nullopt);
    auto kernel = context.small_kernels ? small(i, context) : nullptr;
    if (kernel == nullptr) {
      const bool known = fused && ToOneDnn(fused->function, 0, 0).kind != dnnl::algorithm::undef;
      if (known) i.fused = fused;
      kernel = library(i, context);
      if (known) return kernel;
    }
    if (!fused) return kernel;
    return std::make_unique<SequenceKernel>(
        std::move(kernel),
        (*this)(Activation{output, output, fused->function, fused->alpha, fused->beta}));
  }

  std::unique_ptr<Kernel> operator()(const Conv2d& i) const {
    return Multiply(i, i.output, MakeSmallConv2d, MakeConv2d);
  }
  std::unique_ptr<Kernel> operator()(const MatMul& i) const {
    return Multiply(i, i.c, MakeSmallMatMul, MakeMatMul);
  }
  std::unique_ptr<Kernel> operator()(const Activation& i) const {
    return Choose(i, MakeSmallActivation, MakeActivation);
  }
  std::unique_ptr<Kernel> operator()(const Softmax& i) const { return MakeSoftmax(i, context); }
  std::unique_ptr<Kernel> operator()(const LayerNorm& i) const { return MakeLayerNorm(i, context); }
  std::unique_ptr<Kernel> operator()(const Pool2d& i) const {
    return Choose(i, MakeSmallPool2d, MakePool2d);
  }
  std::unique_ptr<Kernel> operator()(const Binary& i) const { return MakeBinary(i, context); }
  std::unique_ptr<Kernel> operator()(const Copy& i) const { return MakeCopy(i, context); }
  std::unique_ptr<Kernel> operator()(const Gather& i) const { return MakeGather(i, context); }
  std::unique_ptr<Kernel> operator()(const Reduce& i) const { return MakeReduce(i, context); }
  std::unique_ptr<Kernel> operator()(const Compare& i) const { return MakeCompare(i, context); }
  std::unique_ptr<Kernel> operator()(const Select& i) const { return MakeSelect(i, context); }
  template <typename Control>
  std::unique_ptr<Kernel> operator()(const Control&) const {
    return nullptr;
  }
};

}  // namespace

Result<std::shared_ptr<const PackedWeights>> PackOnce(const Operand& operand,
                                                      const std::string& form,
                                                      const KernelContext& context,
                                                      const WeightCache::Pack& pack) {
  const std::string what =
      fmt::format("{}/{}/{}/{}", DTypeName(operand.dtype), fmt::join(operand.dims, ","),
                  fmt::join(operand.strides, ","), form);
  const auto part =
      context.file_part ? context.file_part(operand.var_id) : KernelContext::FilePart{};
  if (part.file == nullptr) {
    const uint64_t bytes = SpanElements(operand) * DTypeSize(operand.dtype);
    const Sha256Digest digest = Sha256({context.resolve(operand), bytes});
    return context.weights->Get(Hex(digest) + "/" + what, pack);
  }
  const std::string key =
      fmt::format("{}+{}+{}/{}", part.file->id(), part.offset, operand.offset, what);
  NRTD_ASSIGN(auto packed, context.weights->Get(key, pack));
  part.file->Keep(packed, packed->size);
  return packed;
}

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

void Scratch::Reserve(uint64_t bytes) {
  if (bytes <= size_) return;
  data_.reset(AllocateAligned(bytes));
  size_ = bytes;
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
