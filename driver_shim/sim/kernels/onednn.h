// SPDX-License-Identifier: Apache-2.0
//
// The little of oneDNN that all kernels share. Exceptions of its C++ interface end in MakeWhole();
// running goes through the C interface with arguments bound beforehand, so that it neither throws
// nor builds maps.
#pragma once

#include <cstdint>
#include <vector>

#include <dnnl.hpp>

#include "driver_shim/sim/isa.h"
#include "driver_shim/sim/kernels/kernel.h"

namespace nrtd::sim {

const dnnl::engine& CpuEngine();

// The operand's shape and strides, holding `type` elements.
dnnl::memory::desc OperandDesc(const Operand& operand,
                               dnnl::memory::data_type type = dnnl::memory::data_type::f32);

// What is done to an element, in oneDNN's words; algorithm::undef where it has none.
struct OneDnnFunction {
  dnnl::algorithm kind;
  float alpha;
  float beta;
};
OneDnnFunction ToOneDnn(Function function, float alpha, float beta);

// KernelAttr() with a function on the way out, which oneDNN has.
dnnl::primitive_attr AttrWith(const std::optional<Fused>& fused);

// Attributes of every primitive here: scratch memory is the program's, not the library's, because
// the library's is bound to the thread that made the primitive.
dnnl::primitive_attr KernelAttr();

// A primitive with its arguments bound.
class BoundPrimitive {
 public:
  BoundPrimitive() = default;
  explicit BoundPrimitive(dnnl::primitive primitive);

  // `data` stays valid as long as this; an address is looked up at every Run().
  void Bind(int argument, const dnnl::memory::desc& desc, const void* data);
  void Bind(int argument, const dnnl::memory::desc& desc, Address address);
  // At `offset` into the scratch memory, wherever that is when Run() is called. Nothing for a
  // descriptor without dimensions. One whose strides are all 0 has one, though its size is 0.
  void BindScratch(int argument, const dnnl::memory::desc& desc, Scratch* scratch, uint64_t offset);

  bool Run();

  // Did the library find nothing better than its reference code?
  bool is_reference() const;

 private:
  struct Floating {
    dnnl_memory_t memory;
    Scratch* scratch;  // or
    Address address;
    uint64_t offset;
    void* last;  // where it was
  };
  dnnl::primitive primitive_;
  dnnl::stream stream_;
  std::vector<dnnl::memory> memories_;
  std::vector<dnnl_exec_arg_t> arguments_;
  std::vector<Floating> floating_;
};

// Runs a reorder once, for packing. Throws dnnl::error.
void ReorderNow(const dnnl::memory::desc& from, const void* source, const dnnl::memory::desc& to,
                void* target);

// Per family; they throw dnnl::error.
std::unique_ptr<Kernel> MakeConv2d(const Conv2d& conv, const KernelContext& context);
std::unique_ptr<Kernel> MakeMatMul(const MatMul& matmul, const KernelContext& context);
std::unique_ptr<Kernel> MakeActivation(const Activation& activation, const KernelContext& context);
std::unique_ptr<Kernel> MakeSoftmax(const Softmax& softmax, const KernelContext& context);
std::unique_ptr<Kernel> MakePool2d(const Pool2d& pool, const KernelContext& context);
std::unique_ptr<Kernel> MakeBinary(const Binary& binary, const KernelContext& context);
std::unique_ptr<Kernel> MakeCopy(const Copy& copy, const KernelContext& context);
// Of our own (rows.cc, tables.cc).
std::unique_ptr<Kernel> MakeMappedActivation(const Activation& activation,
                                             const KernelContext& context);  // null: oneDNN has it
std::unique_ptr<Kernel> MakeLayerNorm(const LayerNorm& norm, const KernelContext& context);
std::unique_ptr<Kernel> MakeReduce(const Reduce& reduce, const KernelContext& context);
std::unique_ptr<Kernel> MakeGather(const Gather& gather, const KernelContext& context);
std::unique_ptr<Kernel> MakeCompare(const Compare& compare, const KernelContext& context);
std::unique_ptr<Kernel> MakeSelect(const Select& select, const KernelContext& context);
// Pairs of integers, and powers; null: oneDNN has it.
std::unique_ptr<Kernel> MakeMappedBinary(const Binary& binary, const KernelContext& context);

}  // namespace nrtd::sim
