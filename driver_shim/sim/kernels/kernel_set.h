// SPDX-License-Identifier: Apache-2.0
//
// The kernels of one program. Instructions that differ only in where their operands are share one;
// instructions with more work than fits between two looks at the interrupt are cut into pieces.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "driver_shim/program.h"
#include "driver_shim/sim/kernels/kernel.h"

namespace nrtd::sim {

struct Blocks;

// The kernels of a program; the largest networks known have some thousand layers with weights of
// their own.
inline constexpr uint64_t kMaxKernels = 8'192;

class KernelSet {
 public:
  // `context` says where operands are. Kernels look for them at `bases`, which outlives the set, as
  // the context does. `charge` pays for them.
  KernelSet(const KernelContext& context, OperandBases* bases, PreparedCharge* charge);
  ~KernelSet();

  struct Prepared {
    Kernel* kernel = nullptr;  // the set's
    OperandBases bases{};      // to be put into the set's before each piece is run
  };
  // The instruction is a tensor instruction that Validate() accepts. Errors of MakeKernel();
  // kResource: kMaxKernels, or the charge's.
  Result<Prepared> Get(const Instruction& instruction);

  uint64_t size() const { return kernels_.size(); }
  // No more kernels are made: forgets what only that needs.
  void Close();

 private:
  // What an operand of the instruction that is being prepared stands for.
  struct Actual {
    Operand operand;
    bool constant = false;
    bool baked = false;  // kernels keep a copy of it
  };
  Result<Kernel*> Find(const Instruction& form);
  Result<std::unique_ptr<Kernel>> Make(const Instruction& form);
  Result<std::unique_ptr<Kernel>> MakePieces(const Instruction& form, const Blocks& blocks);
  Result<Kernel*> FindPart(const Instruction& part);
  std::string KeyOf(const Instruction& form) const;

  const KernelContext outer_;
  KernelContext inner_;
  OperandBases* const bases_;
  PreparedCharge* const charge_;
  std::vector<Actual> actual_;
  std::unordered_map<std::string, Kernel*> by_form_;
  std::vector<std::unique_ptr<Kernel>> kernels_;
};

}  // namespace nrtd::sim
