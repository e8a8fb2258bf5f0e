// SPDX-License-Identifier: Apache-2.0
#include "compiler/schedule.h"

namespace nrtd::compiler {
namespace {

Access Reach(const sim::Operand& operand, bool write) {
  uint64_t last = 0;
  for (size_t d = 0; d < operand.dims.size(); ++d)
    last += static_cast<uint64_t>((operand.dims[d] - 1) * operand.strides[d]);
  return {operand.var_id, operand.offset, operand.offset + (last + 1) * DTypeSize(operand.dtype),
          write};
}

struct Collector {
  std::vector<Access> accesses;

  void Read(const sim::Operand& operand) { accesses.push_back(Reach(operand, false)); }
  void Read(const std::optional<sim::Operand>& operand) {
    if (operand) Read(*operand);
  }
  void Write(const sim::Operand& operand) { accesses.push_back(Reach(operand, true)); }

  void operator()(const sim::Conv2d& i) {
    Read(i.input);
    Read(i.weights);
    Read(i.bias);
    Write(i.output);
  }
  void operator()(const sim::MatMul& i) {
    Read(i.a);
    Read(i.b);
    Read(i.bias);
    Write(i.c);
  }
  void operator()(const sim::Binary& i) {
    Read(i.a);
    Read(i.b);
    Write(i.output);
  }
  void operator()(const sim::Activation& i) { ReadAndWrite(i); }
  void operator()(const sim::Softmax& i) {
    ReadAndWrite(i);
    Read(i.mask);
  }
  void operator()(const sim::LayerNorm& i) {
    ReadAndWrite(i);
    Read(i.scale);
    Read(i.bias);
  }
  void operator()(const sim::Pool2d& i) { ReadAndWrite(i); }
  void operator()(const sim::Copy& i) { ReadAndWrite(i); }
  void operator()(const sim::Reduce& i) { ReadAndWrite(i); }
  void operator()(const sim::Gather& i) {
    Read(i.table);
    Read(i.indices);
    Write(i.output);
  }
  void operator()(const sim::Compare& i) {
    Read(i.a);
    Read(i.b);
    Write(i.output);
  }
  void operator()(const sim::Select& i) {
    Read(i.condition);
    Read(i.a);
    Read(i.b);
    Write(i.output);
  }
  void operator()(const sim::SemaphoreWait&) {}
  void operator()(const sim::SemaphoreSignal&) {}
  void operator()(const sim::DmaTrigger&) {}
  void operator()(const sim::Notify&) {}
  void operator()(const sim::End&) {}

  template <typename Unary>
  void ReadAndWrite(const Unary& i) {
    Read(i.input);
    Write(i.output);
  }
};

}  // namespace

std::vector<Access> AccessesOf(const sim::Instruction& instruction) {
  Collector collector;
  std::visit(collector, instruction);
  return std::move(collector.accesses);
}

}  // namespace nrtd::compiler
