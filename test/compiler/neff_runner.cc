// SPDX-License-Identifier: Apache-2.0
#include "test/compiler/neff_runner.h"

#include <bit>
#include <cstring>
#include <set>

#include "test/compiler/cases.h"

namespace nrtd::compiler {

SimulatedCore::SimulatedCore() {
  memory::PoolOptions options;
  options.pages_per_device = 4;
  options.only_small_pages = true;
  pool = Must(memory::HugePagePool::Create(options));
  platform = Must(sim::SimPlatform::Create("inf1.xlarge"));
  for (const memory::PoolPage& page : pool->pages())
    Must(platform->device(0).MapHostMemory(page.bus_address, page.data, page.length));
  copier = Must(MemoryCopier::Create(platform->device(0), *pool, clock));
  channel = Must(CoreChannel::Create(platform->device(0).core(0), *pool, clock));
}

// One subgraph.
class NeffRunner::Piece {
 public:
  Piece(SimulatedCore& core, const neff::Neff& neff, const neff::Subgraph& subgraph,
        uint64_t& next);
  ~Piece();
  Piece(const Piece&) = delete;
  Piece& operator=(const Piece&) = delete;

  // Takes its inputs from `values` and puts its outputs there.
  void Run(Values& values);

 private:
  void Place(const neff::Variable& variable);
  void AddQueue(uint32_t engine, const neff::Subgraph& subgraph, const std::string& queue);
  BusAddress AddressOf(const neff::Subgraph& subgraph, const neff::AccessPattern& pattern) const;

  SimulatedCore& core_;
  const neff::Neff& neff_;
  uint64_t& next_;  // free DRAM
  ProgramImage image_;
  std::map<uint32_t, BusAddress> addresses_;               // of every variable
  std::map<std::string, memory::DmaBuffer> host_buffers_;  // of ports, by name
  std::map<std::string, neff::VariableType> kinds_;
  std::vector<std::vector<Descriptor>> queues_;
  ProgramId program_id_ = 0;
  std::unique_ptr<ProgramRings> program_;
};

NeffRunner::Piece::Piece(SimulatedCore& core, const neff::Neff& neff,
                         const neff::Subgraph& subgraph, uint64_t& next)
    : core_(core), neff_(neff), next_(next) {
  for (const neff::Variable& variable : subgraph.variables) Place(variable);
  for (uint32_t e = 0; e < kCoreEngines; ++e) {
    image_.instructions[e] = subgraph.engines[e].instructions.bytes();
    std::set<std::string> queues;
    for (const neff::DmaTrigger& trigger : subgraph.engines[e].dma) queues.insert(trigger.queue);
    for (const std::string& queue : queues) AddQueue(e, subgraph, queue);
  }
  program_id_ = Must(core.platform->device(0).core(0).LoadProgram(image_));
  std::vector<uint32_t> capacities;
  for (const auto& queue : queues_)
    capacities.push_back(std::bit_ceil(static_cast<uint32_t>(queue.size()) + 1));
  program_ = std::make_unique<ProgramRings>(program_id_);
  Must(core.channel->Start(*program_, capacities));
}

NeffRunner::Piece::~Piece() {
  core_.channel->Stop(*program_);
  core_.platform->device(0).core(0).UnloadProgram(program_id_);
}

NeffRunner::NeffRunner(SimulatedCore& core, const neff::Neff& neff) : core_(core), neff_(neff) {
  for (const neff::Node& node : neff.graph().nodes) {
    if (node.kind == neff::NodeKind::kHostFunction) AddCall(node);
    if (node.kind != neff::NodeKind::kKelf) continue;
    for (const neff::Subgraph& subgraph : neff.kelf(node).subgraphs)
      stages_.emplace_back(std::make_unique<Piece>(core, neff, subgraph, next_));
  }
}

NeffRunner::~NeffRunner() {
  stages_.clear();
  core_.platform->device(0).DiscardDram(DramAddress(0, 0, 0), next_);
}

void NeffRunner::AddCall(const neff::Node& node) {
  runtime::HostSignature signature;
  signature.attributes = node.attrs;
  for (const auto& [tensors, types] :
       {std::pair(&node.inputs, &signature.inputs), std::pair(&node.outputs, &signature.outputs)}) {
    for (const uint32_t t : *tensors) {
      const neff::Tensor& tensor = neff_.graph().tensors[t];
      types->push_back({tensor.dtype, tensor.shape, tensor.bytes});
    }
  }
  stages_.emplace_back(Call{Must(runtime::PrepareHostFunction(node.func_name, signature)),
                            node.inputs, node.outputs});
}

void NeffRunner::Piece::Place(const neff::Variable& variable) {
  const bool in_dram =
      variable.type == neff::VariableType::kFile || variable.type == neff::VariableType::kTmpBuf;
  BusAddress address = 0;
  if (in_dram) {
    address = DramAddress(0, 0, next_);
    next_ += (*variable.size + 63) / 64 * 64;
    addresses_[variable.var_id] = address;
    // Scratch memory must not matter: what was there before is NaN.
    const ByteVector noise(*variable.size, std::byte{0xff});
    Must(core_.copier->Write(
        address, variable.type == neff::VariableType::kFile ? variable.data : ByteSpan(noise)));
  } else {
    auto buffer = Must(core_.pool->Allocate(*variable.size));
    addresses_[variable.var_id] = buffer.BusAddress(0);
    host_buffers_.emplace(variable.name, std::move(buffer));
    kinds_.emplace(variable.name, variable.type);
  }
  image_.variables.push_back({variable.var_id, *variable.size, in_dram ? address : 0, in_dram,
                              variable.type == neff::VariableType::kTmpBuf});
}

BusAddress NeffRunner::Piece::AddressOf(const neff::Subgraph& subgraph,
                                        const neff::AccessPattern& pattern) const {
  return addresses_.at(subgraph.variables[pattern.variable].var_id) + pattern.offset;
}

void NeffRunner::Piece::AddQueue(uint32_t engine, const neff::Subgraph& subgraph,
                                 const std::string& queue) {
  const auto number = static_cast<uint32_t>(queues_.size());
  std::vector<Descriptor> descriptors;
  for (const neff::DmaTrigger& trigger : subgraph.engines[engine].dma) {
    if (trigger.queue != queue) continue;
    descriptors.push_back({.source = AddressOf(subgraph, trigger.desc.from),
                           .destination = AddressOf(subgraph, trigger.desc.to),
                           .length = static_cast<uint32_t>(trigger.desc.from.sizes.at(0)),
                           .semaphore = static_cast<uint8_t>(*trigger.semaphore)});
    auto& bindings = image_.triggers;
    if (!bindings.empty() && bindings.back().queue == number && bindings.back().id == trigger.id) {
      ++bindings.back().descriptors;
    } else {
      bindings.push_back({static_cast<CoreEngine>(engine), trigger.id, number, 1});
    }
    const neff::Variable& from = subgraph.variables[trigger.desc.from.variable];
    const neff::Variable& to = subgraph.variables[trigger.desc.to.variable];
    // Looked at for NaN, as the runtime does for outputs of float32.
    const auto& graph = neff_.graph();
    for (const neff::Port& port : graph.outputs) {
      if (to.type == neff::VariableType::kOutput && port.name == to.name &&
          graph.tensors[port.tensor].dtype == DType::kFloat32)
        image_.output_var_ids.push_back(from.var_id);
    }
  }
  queues_.push_back(std::move(descriptors));
}

void NeffRunner::Piece::Run(Values& values) {
  for (auto& [name, buffer] : host_buffers_) {
    if (kinds_.at(name) != neff::VariableType::kInput) continue;
    const ByteVector& value = values.at(name);
    std::memcpy(buffer.data(), value.data(), value.size());
  }
  std::vector<QueueWork> work;
  for (uint32_t q = 0; q < queues_.size(); ++q) work.push_back({q, queues_[q]});
  Execution execution;
  Must(core_.channel->Submit(execution, *program_, work, Completion::kPolled));
  if (!core_.channel->Wait(execution, core_.clock.Now() + std::chrono::seconds(60)))
    throw std::runtime_error("the execution did not end");
  if (execution.outcome().code != Nerr::kOk)
    throw std::runtime_error(NerrName(execution.outcome().code) + ": " +
                             execution.outcome().detail);
  for (auto& [name, buffer] : host_buffers_) {
    if (kinds_.at(name) == neff::VariableType::kOutput)
      values[name].assign(buffer.bytes().begin(), buffer.bytes().end());
  }
}

std::map<std::string, NpyArray> NeffRunner::Run(const std::map<std::string, NpyArray>& inputs) {
  const auto& tensors = neff_.graph().tensors;
  Values values;
  for (const auto& [name, array] : inputs) values[name] = array.data;
  for (auto& stage : stages_) {
    if (auto* piece = std::get_if<std::unique_ptr<Piece>>(&stage)) {
      (*piece)->Run(values);
      continue;
    }
    const Call& call = std::get<Call>(stage);
    std::vector<ByteSpan> from;
    std::vector<MutableByteSpan> to;
    for (const uint32_t t : call.inputs)
      from.push_back(ByteSpan(values.at(tensors[t].name)).first(tensors[t].bytes));
    for (const uint32_t t : call.outputs) {
      ByteVector& value = values[tensors[t].name];
      value.resize(tensors[t].bytes);
      to.emplace_back(value);
    }
    call.kernel(from, to);
  }
  std::map<std::string, NpyArray> outputs;
  for (const neff::Port& port : neff_.graph().outputs) {
    const neff::Tensor& tensor = tensors[port.tensor];
    ByteVector value = values.at(port.name);
    value.resize(tensor.bytes);
    outputs[port.name] = {tensor.dtype, tensor.shape, std::move(value)};
  }
  return outputs;
}

}  // namespace nrtd::compiler
