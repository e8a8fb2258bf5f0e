// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/make_kernel.h"

#include <algorithm>
#include <new>
#include <utility>

#include "driver_shim/sim/kernels/batch_matmul.h"
#include "driver_shim/sim/kernels/kernel_set.h"
#include "driver_shim/sim/kernels/large_product.h"
#include "driver_shim/sim/kernels/onednn.h"
#include "driver_shim/sim/kernels/packed_matmul.h"
#include "driver_shim/sim/kernels/packed_product.h"
#include "driver_shim/sim/kernels/small.h"
#include "driver_shim/sim/kernels/split.h"

namespace nrtd::sim {
namespace {

// One after the other.
class SequenceKernel final : public Kernel {
 public:
  SequenceKernel(std::unique_ptr<Kernel> first, std::unique_ptr<Kernel> second)
      : first_(std::move(first)), second_(std::move(second)) {}
  bool Run() override { return first_->Run() && second_->Run(); }
  bool is_slow() const override { return first_->is_slow() || second_->is_slow(); }

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
    auto kernel = context.own_kernels ? small(i, context) : nullptr;
    return kernel != nullptr ? std::move(kernel) : library(i, context);
  }

  // The kernel, and behind it the function on what it has written.
  std::unique_ptr<Kernel> Then(std::unique_ptr<Kernel> kernel, const std::optional<Fused>& fused,
                               const Operand& output) const {
    if (!fused) return kernel;
    return std::make_unique<SequenceKernel>(
        std::move(kernel),
        (*this)(Activation{output, output, fused->function, fused->alpha, fused->beta}));
  }

  // oneDNN applies a function on the way out, if it has it.
  template <typename I>
  std::unique_ptr<Kernel> Library(const I& i, const Operand& output, Make<I> library,
                                  bool fuses = true) const {
    if (i.fused && fuses && ToOneDnn(i.fused->function, 0, 0).kind != dnnl::algorithm::undef)
      return library(i, context);
    I plain = i;
    plain.fused.reset();
    return Then(library(plain, context), i.fused, output);
  }

  // Small ones of our own know no function, large ones clamp.
  std::unique_ptr<Kernel> operator()(const Conv2d& i) const {
    if (context.own_kernels) {
      const bool clamps = ClampOf(i.fused).has_value();
      Conv2d plain = i;
      plain.fused.reset();
      if (auto kernel = MakeSmallConv2d(plain, context))
        return Then(std::move(kernel), i.fused, i.output);
      if (auto kernel = MakeLargeConv2d(clamps ? i : plain, context))
        return clamps ? std::move(kernel) : Then(std::move(kernel), i.fused, i.output);
    }
    return Library(i, i.output, MakeConv2d);
  }
  std::unique_ptr<Kernel> operator()(const MatMul& i) const {
    if (context.own_kernels) {
      MatMul plain = i;
      plain.fused.reset();
      if (auto kernel = MakeSmallMatMul(plain, context))
        return Then(std::move(kernel), i.fused, i.c);
      const bool clamps = ClampOf(i.fused).has_value();
      if (auto kernel = MakeFewRows(clamps ? i : plain, context))
        return clamps ? std::move(kernel) : Then(std::move(kernel), i.fused, i.c);
      if (auto kernel = MakeBatchMatMul(plain, context))
        return Then(std::move(kernel), i.fused, i.c);
    }
    return Library(i, i.c, MakeMatMul);
  }
  std::unique_ptr<Kernel> operator()(const Activation& i) const {
    return Choose(i, MakeSmallActivation, MakeActivation);
  }
  std::unique_ptr<Kernel> operator()(const Softmax& i) const { return MakeSoftmax(i, context); }
  std::unique_ptr<Kernel> operator()(const LayerNorm& i) const { return MakeLayerNorm(i, context); }
  std::unique_ptr<Kernel> operator()(const Pool2d& i) const {
    return Choose(i, MakeSmallPool2d, MakePool2d);
  }
  std::unique_ptr<Kernel> operator()(const Binary& i) const {
    const bool mapped = i.function == BinaryFunction::kPower;
    return Library(i, i.output, MakeBinary, !mapped);
  }
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

// The parts of an instruction at the same time.
class TeamKernel final : public Kernel {
 public:
  TeamKernel(ThreadTeam& team, std::vector<std::unique_ptr<Kernel>> parts)
      : team_(team), parts_(std::move(parts)), done_(parts_.size()) {}
  bool Run() override {
    team_.Run([this](unsigned part) {
      if (part < parts_.size()) done_[part] = parts_[part]->Run();
    });
    return std::all_of(done_.begin(), done_.end(), [](char done) { return done; });
  }
  bool is_slow() const override {
    return std::any_of(parts_.begin(), parts_.end(),
                       [](const auto& part) { return part->is_slow(); });
  }

 private:
  ThreadTeam& team_;
  const std::vector<std::unique_ptr<Kernel>> parts_;
  std::vector<char> done_;  // not bits: threads write them at the same time
};

// By all threads of the core, or in parts of which each is a thread's. Throws what makers throw.
Result<std::unique_ptr<Kernel>> Make(const Instruction& instruction, const KernelContext& context) {
  if (const auto* product = std::get_if<MatMul>(&instruction);
      product != nullptr && context.own_kernels) {
    if (auto convolution = AsConvolution(*product, context)) return Make(*convolution, context);
    if (auto kernel = MakePackedMatMul(*product, context)) return kernel;
  }
  const unsigned threads = context.team != nullptr ? context.team->size() : 1;
  const std::vector<Instruction> parts = Split(instruction, threads);
  while (parts.size() > 1 && context.team_scratch->size() + 1 < parts.size())
    context.team_scratch->emplace_back();
  std::vector<std::unique_ptr<Kernel>> kernels;
  for (size_t i = 0; i < parts.size(); ++i) {
    KernelContext own = context;
    if (i > 0) own.scratch = &(*context.team_scratch)[i - 1];
    auto kernel = std::visit(Maker{own}, parts[i]);
    if (kernel == nullptr) {
      return Fail(Nerr::kInvalid, "{} is not a tensor instruction",
                  OpcodeName(OpcodeOf(instruction)));
    }
    kernels.push_back(std::move(kernel));
  }
  if (kernels.size() == 1) return std::move(kernels.front());
  return std::make_unique<TeamKernel>(*context.team, std::move(kernels));
}

// With the kernels that it needs.
class OwnKernel final : public Kernel {
 public:
  explicit OwnKernel(const KernelContext& context) : set_(context, &bases_, nullptr) {}

  Result<void> Prepare(const Instruction& instruction) {
    NRTD_ASSIGN(prepared_, set_.Get(instruction));
    set_.Close();
    return {};
  }
  bool Run() override {
    for (uint64_t piece = 0; piece < pieces(); ++piece)
      if (!RunPiece(piece)) return false;
    return true;
  }
  uint64_t pieces() const override { return prepared_.kernel->pieces(); }
  bool RunPiece(uint64_t piece) override {
    bases_ = prepared_.bases;
    return prepared_.kernel->RunPiece(piece);
  }
  bool is_slow() const override { return prepared_.kernel->is_slow(); }
  std::optional<int64_t> bad_index() const override { return prepared_.kernel->bad_index(); }

 private:
  OperandBases bases_{};
  KernelSet set_;
  KernelSet::Prepared prepared_;
};

}  // namespace

Result<std::unique_ptr<Kernel>> MakeKernel(const Instruction& instruction,
                                           const KernelContext& context) {
  auto kernel = std::make_unique<OwnKernel>(context);
  NRTD_TRY(kernel->Prepare(instruction));
  return kernel;
}

Result<std::unique_ptr<Kernel>> MakeWhole(const Instruction& instruction,
                                          const KernelContext& context) {
  try {
    return Make(instruction, context);
  } catch (const dnnl::error& error) {
    return Fail(Nerr::kInvalid, "{}: the arithmetic library refuses it: {}",
                OpcodeName(OpcodeOf(instruction)), error.what());
  } catch (const std::bad_alloc&) {
    return Fail(Nerr::kResource, "{}: out of host memory", OpcodeName(OpcodeOf(instruction)));
  } catch (GivenUp& given_up) {
    return tl::unexpected(std::move(given_up.error));
  }
}

}  // namespace nrtd::sim
