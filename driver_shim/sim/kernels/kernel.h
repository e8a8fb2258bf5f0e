// SPDX-License-Identifier: Apache-2.0
//
// A tensor instruction, prepared: operands resolved to memory, oneDNN primitive built (or a kernel
// of our own chosen), weights packed. Made by make_kernel.h when a program is loaded, run once an
// execution.
#pragma once

#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <stop_token>
#include <utility>

#include "base/aligned_memory.h"
#include "base/error.h"
#include "base/sealed_memory.h"
#include "driver_shim/sim/isa.h"
#include "driver_shim/sim/kernels/weight_cache.h"
#include "driver_shim/sim/thread_team.h"

namespace nrtd::sim {

class Kernel {
 public:
  virtual ~Kernel() = default;
  // False when the arithmetic library refuses at run time; the execution then ends with an error
  // notification. One thread at a time: kernels of a core share its scratch memory.
  virtual bool Run() = 0;
};

// Scratch memory of one program, grown while programs are prepared and never while they run.
// Kernels take the address through scratch(), since it moves when it grows.
class Scratch {
 public:
  void Reserve(uint64_t bytes);
  std::byte* data() const { return memory_.data(); }

 private:
  AlignedMemory memory_;
};

// What a kernel is made from.
struct KernelContext {
  // The operand's first element in device memory, for every execution; the operand was validated.
  std::function<std::byte*(const Operand&)> resolve;
  // The same for one who reads it now, while the kernel is made, and never again; null: resolve.
  std::function<std::byte*(const Operand&)> resolve_now = {};
  // Does nothing ever write the variable? Then its packed form may be kept and shared.
  std::function<bool(uint32_t var_id)> constant;
  // The sealed memory that the whole variable is a part of, and where; null where there is none.
  struct SealedPart {
    const SealedMemory* memory = nullptr;
    uint64_t offset = 0;
  };
  std::function<SealedPart(uint32_t var_id)> sealed_part = {};
  WeightCache* weights = nullptr;
  Scratch* scratch = nullptr;
  // The threads that run the kernel, and scratch memory for each but the first; null: one.
  ThreadTeam* team = nullptr;
  std::deque<Scratch>* team_scratch = nullptr;
  bool own_kernels = true;    // false: oneDNN whatever the size, for tests and benchmarks
  std::stop_token stop = {};  // nobody wants the kernel any more
};

// Thrown by PackOnce().
struct GivenUp : std::exception {
  explicit GivenUp(Error why) : error(std::move(why)) {}
  const char* what() const noexcept override { return error.text.c_str(); }
  Error error;
};

// What `pack` makes of a constant operand, whose first element it gets, made once for all that have
// the same values and use them in the same `form`, which says all that `pack` depends on besides
// the operand. It may leave off when the context's stop is requested: what it made is thrown away,
// and GivenUp, with the error of CheckWanted(), is thrown.
using Pack = std::function<PackedWeights(const std::byte* data)>;
std::shared_ptr<const PackedWeights> PackOnce(const Operand& operand, const std::string& form,
                                              const KernelContext& context, const Pack& pack);

// Keeps oneDNN from starting a team of threads for the calling one. The setting belongs to the
// thread, and any thread may prepare or poll, so both call this first; it is a store to a
// thread-local variable.
void UseOneThread();

bool HasAvx512();

// Does this CPU multiply bfloat16? If not, PE rounds operands to bfloat16 and multiplies in
// float32, which gives the same products.
bool HasNativeBFloat16();

// Does this CPU multiply bfloat16, and is it asked to?
inline bool UsesBFloat16(Precision precision) {
  return precision == Precision::kBFloat16 && HasNativeBFloat16();
}

}  // namespace nrtd::sim
