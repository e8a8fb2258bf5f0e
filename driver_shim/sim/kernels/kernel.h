// SPDX-License-Identifier: Apache-2.0
//
// A tensor instruction, prepared: operands resolved to memory, oneDNN primitive built (or a kernel
// of our own chosen), weights packed. Made by make_kernel.h when a program is loaded, run once an
// execution.
#pragma once

#include <array>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

#include "base/aligned_memory.h"
#include "base/error.h"
#include "base/sealed_memory.h"
#include "driver_shim/sim/isa.h"
#include "driver_shim/sim/kernels/weight_cache.h"
#include "driver_shim/sim/kernels/work.h"
#include "driver_shim/sim/thread_team.h"

namespace nrtd::sim {

class Kernel {
 public:
  virtual ~Kernel() = default;
  // False when the arithmetic library refuses at run time, or an index is outside of its table; the
  // execution then ends with an error notification. One thread at a time: kernels of a core share
  // its scratch memory.
  virtual bool Run() = 0;

  // A kernel with more work than fits between two looks at the interrupt does it in pieces: all of
  // them, in order, are one Run(). Other kernels of the program do not run in between.
  virtual uint64_t pieces() const { return 1; }
  virtual bool RunPiece(uint64_t) { return Run(); }

  // The index that was outside of its table, after Run() or RunPiece() has returned false.
  virtual std::optional<int64_t> bad_index() const { return std::nullopt; }

  // Does the library compute this element by element, with its reference code?
  virtual bool is_slow() const { return false; }
};

// The most operands that an instruction has, and where they begin. Kernels are made for a form of
// instruction and shared by all instructions of that form; who runs one says where its operands
// are.
inline constexpr size_t kMaxOperands = 4;
using OperandBases = std::array<uintptr_t, kMaxOperands>;

// Where an operand begins: always at the same place, or at a distance from a base that may change
// from run to run.
class Address {
 public:
  Address() = default;
  Address(std::byte* data)  // NOLINT(google-explicit-constructor): a place that does not change
      : offset_(reinterpret_cast<uintptr_t>(data)) {}
  Address(const uintptr_t* base, uint64_t offset) : base_(base), offset_(offset) {}
  std::byte* data() const { return reinterpret_cast<std::byte*>(*base_ + offset_); }

 private:
  static constexpr uintptr_t kNoBase = 0;
  const uintptr_t* base_ = &kNoBase;
  uintptr_t offset_ = 0;
};

// An address as a pointer to elements; null if there is none.
template <typename T>
class DataRef {
 public:
  DataRef() = default;
  explicit DataRef(Address address) : address_(address) {}
  operator T*() const {  // NOLINT(google-explicit-constructor): stands for the pointer
    return reinterpret_cast<T*>(address_.data());
  }

 private:
  Address address_;
};

// Scratch memory of one program, grown while programs are prepared and never while they run.
// Kernels take the address through scratch(), since it moves when it grows.
class Scratch {
 public:
  void Reserve(uint64_t bytes);
  std::byte* data() const { return memory_.data(); }
  uint64_t size() const { return memory_.size(); }

 private:
  AlignedMemory memory_;
};

// What a kernel is made from.
struct KernelContext {
  // The operand's first element in device memory, for every execution; the operand was validated.
  std::function<Address(const Operand&)> resolve;
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
  bool own_kernels = true;     // false: oneDNN whatever the size, for tests and benchmarks
  uint64_t reduce_pieces = 1;  // of a reduction of too many elements to one
  double piece_ns = kPieceNs;  // longer instructions are cut
  std::stop_token stop = {};   // requested: preparing it was cancelled
};

// The operand's elements, read while the kernel is made and left where they are for the next load.
const std::byte* ReadNow(const Operand& operand, const KernelContext& context);

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

// Lets the library generate its code for products, which takes 50 ms, now and not in the first
// execution.
void PrepareLibrary();

// While this lives, the calling thread computes with denormal numbers as zeros. With them, a CPU
// takes a hundred times as long for an operation, which would break the promise of Core::Poll().
class ZeroDenormals {
 public:
  ZeroDenormals();
  ~ZeroDenormals();
  ZeroDenormals(const ZeroDenormals&) = delete;
  ZeroDenormals& operator=(const ZeroDenormals&) = delete;

 private:
  unsigned before_ = 0;
};

bool HasAvx512();

// Does this CPU multiply bfloat16? If not, PE rounds operands to bfloat16 and multiplies in
// float32, which gives the same products.
bool HasNativeBFloat16();

// Does this CPU multiply bfloat16, and is it asked to?
inline bool UsesBFloat16(Precision precision) {
  return precision == Precision::kBFloat16 && HasNativeBFloat16();
}

}  // namespace nrtd::sim
