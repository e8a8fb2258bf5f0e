// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/onednn.h"

#include <string_view>

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
  floating_.push_back({memories_.back().get(), scratch, {}, offset, nullptr});
}

void BoundPrimitive::Bind(int argument, const dnnl::memory::desc& desc, Address address) {
  memories_.emplace_back(desc, CpuEngine(), nullptr);
  arguments_.push_back({argument, memories_.back().get()});
  floating_.push_back({memories_.back().get(), nullptr, address, 0, nullptr});
}

bool BoundPrimitive::is_reference() const {
  const char* name = nullptr;
  const_dnnl_primitive_desc_t desc = nullptr;
  if (dnnl_primitive_get_primitive_desc(primitive_.get(), &desc) != dnnl_success ||
      dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name) != dnnl_success)
    return true;
  return std::string_view(name).find("ref") != std::string_view::npos;
}

bool BoundPrimitive::Run() {
  for (Floating& f : floating_) {
    void* at = f.scratch != nullptr ? f.scratch->data() + f.offset : f.address.data();
    if (at == f.last) continue;
    if (dnnl_memory_set_data_handle(f.memory, at) != dnnl_success) return false;
    f.last = at;
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
