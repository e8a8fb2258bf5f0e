// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/onednn.h"

namespace nrtd::sim {

const dnnl::engine& CpuEngine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

dnnl::memory::desc OperandDesc(const Operand& operand, dnnl::memory::data_type type) {
  return {dnnl::memory::dims(operand.dims.begin(), operand.dims.end()), type,
          dnnl::memory::dims(operand.strides.begin(), operand.strides.end())};
}

dnnl::primitive_attr KernelAttr() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

BoundPrimitive::BoundPrimitive(dnnl::primitive primitive)
    : primitive_(std::move(primitive)), stream_(CpuEngine()) {}

void BoundPrimitive::Bind(int argument, const dnnl::memory::desc& desc, const void* data) {
  // oneDNN has one memory type for what it reads and what it writes.
  memories_.emplace_back(desc, CpuEngine(), const_cast<void*>(data));
  arguments_.push_back({argument, memories_.back().get()});
}

void BoundPrimitive::BindScratch(int argument, const dnnl::memory::desc& desc, Scratch* scratch,
                                 uint64_t offset) {
  if (desc.data.ndims == 0) return;  // the library wants none
  memories_.emplace_back(desc, CpuEngine(), nullptr);
  arguments_.push_back({argument, memories_.back().get()});
  floating_.push_back({memories_.back().get(), scratch, offset});
}

bool BoundPrimitive::Run() {
  for (const Floating& f : floating_) {
    if (dnnl_memory_set_data_handle(f.memory, f.scratch->data() + f.offset) != dnnl_success)
      return false;
  }
  return dnnl_primitive_execute(primitive_.get(), stream_.get(),
                                static_cast<int>(arguments_.size()),
                                arguments_.data()) == dnnl_success;
}

void ReorderNow(const dnnl::memory::desc& from, const void* source, const dnnl::memory::desc& to,
                void* target) {
  dnnl::stream stream(CpuEngine());
  dnnl::memory input(from, CpuEngine(), const_cast<void*>(source));
  dnnl::memory output(to, CpuEngine(), target);
  dnnl::reorder(input, output).execute(stream, input, output);
  stream.wait();
}

}  // namespace nrtd::sim
