// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/kernel_set.h"

#include <algorithm>

#include "base/wanted.h"
#include "driver_shim/sim/kernels/make_kernel.h"
#include "driver_shim/sim/kernels/operands.h"
#include "driver_shim/sim/kernels/pieces.h"
#include "driver_shim/sim/kernels/work.h"

namespace nrtd::sim {
namespace {

// The blocks of an instruction, one after the other. A block is numbered by its place along each
// axis, the last one fastest.
class PiecesKernel final : public Kernel {
 public:
  struct Axis {
    int64_t count = 1;
    // Blocks of one kind have one kernel: all but a smaller last one, or each its own.
    int64_t kinds = 1;
    bool differ = false;
    // How far operands move from block to block, or where they are in each.
    std::array<uint64_t, kMaxOperands> step{};
    std::vector<std::array<uint64_t, kMaxOperands>> places;
  };

  PiecesKernel(std::vector<Axis> axes, std::vector<Kernel*> kernels, OperandBases* bases)
      : axes_(std::move(axes)), kernels_(std::move(kernels)), bases_(bases) {
    blocks_ = 1;
    for (const Axis& axis : axes_) blocks_ *= static_cast<uint64_t>(axis.count);
    for (const Kernel* kernel : kernels_) of_a_block_ = std::max(of_a_block_, kernel->pieces());
  }

  uint64_t pieces() const override { return blocks_ * of_a_block_; }
  bool RunPiece(uint64_t piece) override {
    uint64_t block = piece / of_a_block_;
    size_t kernel = 0;
    size_t kinds = 1;
    for (size_t a = axes_.size(); a-- > 0;) {
      const Axis& axis = axes_[a];
      const auto count = static_cast<uint64_t>(axis.count);
      const uint64_t i = block % count;
      block /= count;
      for (size_t r = 0; r < kMaxOperands; ++r)
        (*bases_)[r] += axis.differ ? axis.places[i][r] : i * axis.step[r];
      const uint64_t kind = axis.differ ? i : i + 1 == count ? axis.kinds - 1 : 0;
      kernel += kind * kinds;
      kinds *= static_cast<size_t>(axis.kinds);
    }
    const uint64_t part = piece % of_a_block_;
    last_ = kernels_[kernel];
    return part >= last_->pieces() || last_->RunPiece(part);
  }
  std::optional<int64_t> bad_index() const override { return last_->bad_index(); }
  bool Run() override {
    const OperandBases bases = *bases_;
    for (uint64_t piece = 0; piece < pieces(); ++piece) {
      *bases_ = bases;
      if (!RunPiece(piece)) return false;
    }
    return true;
  }

 private:
  const std::vector<Axis> axes_;
  const std::vector<Kernel*> kernels_;
  OperandBases* const bases_;
  uint64_t blocks_ = 1;
  uint64_t of_a_block_ = 1;
  Kernel* last_ = nullptr;  // that ran
};

// Numbers a form's operands in place of their variables, from 0 on.
void NumberOperands(Instruction& instruction) {
  uint32_t number = 0;
  VisitOperands(instruction, [&](Operand& operand, bool) {
    operand.var_id = number++;
    operand.offset = 0;
  });
}

// Weights that repeat elements may be too many to be packed (PacksTooMuch).
bool IsRepeated(const Instruction& form) {
  bool repeats = false;
  VisitOperands(form, [&](const Operand& operand, bool baked) {
    for (size_t d = 0; baked && d < operand.dims.size(); ++d)
      repeats = repeats || (operand.dims[d] > 1 && operand.strides[d] == 0);
  });
  return repeats;
}

}  // namespace

KernelSet::KernelSet(const KernelContext& context, OperandBases* bases, PreparedCharge* charge)
    : outer_(context), inner_(context), bases_(bases), charge_(charge) {
  inner_.resolve = [this](const Operand& operand) -> Address {
    const Actual& actual = actual_[operand.var_id];
    (void)outer_.resolve(actual.operand);
    return {&(*bases_)[operand.var_id], operand.offset};
  };
  inner_.resolve_now = [this](const Operand& operand) -> std::byte* {
    const Operand& actual = actual_[operand.var_id].operand;
    std::byte* data =
        outer_.resolve_now ? outer_.resolve_now(actual) : outer_.resolve(actual).data();
    return data + operand.offset;
  };
  inner_.constant = [this](uint32_t number) { return actual_[number].constant; };
  inner_.sealed_part = [this](uint32_t number) -> KernelContext::SealedPart {
    if (!outer_.sealed_part) return {};
    const Operand& actual = actual_[number].operand;
    KernelContext::SealedPart part = outer_.sealed_part(actual.var_id);
    part.offset += actual.offset;
    return part;
  };
}

KernelSet::~KernelSet() = default;

void KernelSet::Close() {
  by_form_ = {};
  actual_ = {};
}

Result<KernelSet::Prepared> KernelSet::Get(const Instruction& instruction) {
  actual_.clear();
  VisitOperands(instruction, [&](const Operand& operand, bool bakes) {
    const bool constant = outer_.constant(operand.var_id);
    actual_.push_back({operand, constant, bakes && constant});
  });
  if (actual_.empty())
    return Fail(Nerr::kInvalid, "{} is not a tensor instruction",
                OpcodeName(OpcodeOf(instruction)));
  Prepared prepared;
  for (size_t r = 0; r < actual_.size(); ++r)
    prepared.bases[r] = reinterpret_cast<uintptr_t>(
        outer_.resolve_now && actual_[r].baked ? outer_.resolve_now(actual_[r].operand)
                                               : outer_.resolve(actual_[r].operand).data());
  Instruction form = instruction;
  NumberOperands(form);
  NRTD_ASSIGN(prepared.kernel, Find(form));
  return prepared;
}

std::string KernelSet::KeyOf(const Instruction& form) const {
  const ByteVector bytes = EncodeStream({Engine::kPe, {form}});
  std::string key(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (const Actual& actual : actual_) {
    key += actual.constant ? 'c' : 'v';
    if (actual.baked) key += fmt::format("{}+{}", actual.operand.var_id, actual.operand.offset);
  }
  return key;
}

Result<Kernel*> KernelSet::Find(const Instruction& form) {
  std::string key = KeyOf(form);
  if (const auto found = by_form_.find(key); found != by_form_.end()) return found->second;
  NRTD_TRY(CheckWanted(outer_.stop));
  NRTD_ASSIGN(auto kernel, Make(form));
  kernels_.push_back(std::move(kernel));
  by_form_.emplace(std::move(key), kernels_.back().get());
  return kernels_.back().get();
}

Result<std::unique_ptr<Kernel>> KernelSet::Make(const Instruction& form) {
  FormTraits traits;
  traits.is_packed = actual_.size() > 1 && actual_[1].baked && !IsRepeated(form);
  NRTD_ASSIGN(Blocks blocks, ChooseBlocks(form, traits, inner_.piece_ns));
  if (!blocks.is_whole()) return MakePieces(form, blocks);
  if (kernels_.size() >= kMaxKernels) {
    return Fail(Nerr::kResource,
                "the program needs more than {} kernels: so many instructions may differ in their "
                "form or in their weights",
                kMaxKernels);
  }
  if (charge_ != nullptr) NRTD_TRY(charge_->Take(EstimateKernelBytes(form)));
  inner_.reduce_pieces = blocks.reduce_pieces;
  auto kernel = MakeWhole(form, inner_);
  inner_.reduce_pieces = 1;
  if (!kernel || !(*kernel)->is_slow()) return kernel;
  traits.is_slow = true;
  NRTD_ASSIGN(blocks, ChooseBlocks(form, traits, inner_.piece_ns));
  if (blocks.is_whole()) return kernel;
  return MakePieces(form, blocks);
}

// A part's operands begin further on. Kernels are for parts that begin at their operands, but for
// operands that they keep a copy of.
Result<Kernel*> KernelSet::FindPart(const Instruction& part) {
  Instruction form = part;
  VisitOperands(form, [&](Operand& operand, bool) {
    if (!actual_[operand.var_id].baked) operand.offset = 0;
  });
  return Find(form);
}

Result<std::unique_ptr<Kernel>> KernelSet::MakePieces(const Instruction& form,
                                                      const Blocks& blocks) {
  constexpr int64_t kMostKinds = 16'384;
  const size_t rank = blocks.dims.size();
  std::vector<Range> whole;
  for (const int64_t dim : blocks.dims) whole.push_back({0, dim});
  std::vector<PiecesKernel::Axis> axes;
  std::vector<size_t> along;  // the dimension of each axis
  int64_t kernels = 1;
  const auto places_of = [&](const Instruction& part) {
    std::array<uint64_t, kMaxOperands> places{};
    std::array<uint64_t, kMaxOperands> start{};
    VisitOperands(form,
                  [&](const Operand& operand, bool) { start[operand.var_id] = operand.offset; });
    VisitOperands(part, [&](const Operand& operand, bool) {
      if (!actual_[operand.var_id].baked)
        places[operand.var_id] = operand.offset - start[operand.var_id];
    });
    return places;
  };
  const auto refuse = [&] {
    return Fail(Nerr::kInvalid,
                "{} cannot be cut into pieces: there are too many, or some are in "
                "the padding",
                OpcodeName(OpcodeOf(form)));
  };
  for (size_t d = 0; d < rank; ++d) {
    PiecesKernel::Axis axis;
    axis.count = blocks.count(d);
    if (axis.count == 1) continue;
    axis.differ = BlocksDiffer(form, d);
    axis.kinds = axis.differ ? axis.count : blocks.dims[d] % blocks.sizes[d] == 0 ? 1 : 2;
    kernels = std::min(kernels, kMostKinds) * std::min(axis.kinds, kMostKinds + 1);
    if (kernels > kMostKinds) return refuse();
    std::vector<Range> ranges = whole;
    for (int64_t i = 0; i < (axis.differ ? axis.count : 2); ++i) {
      ranges[d] = blocks.range(d, i);
      const auto part = PartOf(form, ranges);
      if (!part) return refuse();
      axis.places.push_back(places_of(*part));
    }
    if (!axis.differ) {
      axis.step = axis.places[1];
      axis.places.clear();
    }
    axes.push_back(std::move(axis));
    along.push_back(d);
  }
  if (charge_ != nullptr) {
    uint64_t bytes = sizeof(PiecesKernel) + static_cast<uint64_t>(kernels) * sizeof(Kernel*);
    for (const auto& axis : axes) bytes += sizeof(axis) + axis.places.size() * sizeof(axis.step);
    NRTD_TRY(charge_->Take(bytes));
  }
  std::vector<Kernel*> made;
  for (int64_t k = 0; k < kernels; ++k) {
    std::vector<Range> ranges = whole;
    int64_t rest = k;
    for (size_t a = axes.size(); a-- > 0;) {
      const PiecesKernel::Axis& axis = axes[a];
      const int64_t kind = rest % axis.kinds;
      rest /= axis.kinds;
      const bool last = !axis.differ && kind > 0;
      ranges[along[a]] = blocks.range(along[a], last ? axis.count - 1 : kind);
    }
    const auto part = PartOf(form, ranges);
    if (!part) return refuse();
    NRTD_ASSIGN(Kernel * kernel, FindPart(*part));
    made.push_back(kernel);
  }
  return std::make_unique<PiecesKernel>(std::move(axes), std::move(made), bases_);
}

}  // namespace nrtd::sim
