// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/onednn.h"

#include <cstdlib>

#include "base/sizes.h"

namespace nrtd::sim {

const dnnl::engine& CpuEngine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

dnnl::memory::desc OperandDesc(const Operand& operand, dnnl::memory::data_type type) {
  return {dnnl::memory::dims(operand.dims.begin(), operand.dims.end()), type,
          dnnl::memory::dims(operand.strides.begin(), operand.strides.end())};
}

uint64_t SpanElements(const Operand& operand) {
  uint64_t last = 0;
  for (size_t d = 0; d < operand.dims.size(); ++d) {
    last += static_cast<uint64_t>((operand.dims[d] - 1) * operand.strides[d]);
  }
  return last + 1;
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
  if (desc.get_size() == 0) return;
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

std::byte* AllocateAligned(uint64_t size) {
  if (size == 0) return nullptr;
  void* data = std::aligned_alloc(64, AlignUp(size, 64));
  if (data == nullptr) throw std::bad_alloc();
  return static_cast<std::byte*>(data);
}

void Scratch::Reserve(uint64_t bytes) {
  if (bytes <= size_) return;
  data_.reset(AllocateAligned(bytes));
  size_ = bytes;
}

}  // namespace nrtd::sim
