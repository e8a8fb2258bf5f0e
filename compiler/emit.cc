// SPDX-License-Identifier: Apache-2.0
#include "compiler/emit.h"

#include <algorithm>

#include "base/digest.h"
#include "base/npy.h"
#include "neff/validator.h"

namespace nrtd::compiler {
namespace {

constexpr std::string_view kBuildVersion = "neuron-rtd neuron-cc " NRTD_VERSION;
// Of the files as written by the vendor's compiler of the 1.x era.
constexpr std::string_view kKelfVersion = "0.5";
constexpr std::string_view kDefinitionVersion = "0.5";

std::string UpperName(sim::Engine engine) {
  switch (engine) {
    case sim::Engine::kPe:
      return "PE";
    case sim::Engine::kAct:
      return "Activation";
    case sim::Engine::kPool:
      return "Pool";
  }
  return "";
}

std::string QueueName(sim::Engine engine, bool is_input) {
  return fmt::format("q{}{}", UpperName(engine), is_input ? "In" : "Out");
}

neff::VariableType TypeOf(PlannedVariable::Kind kind) {
  switch (kind) {
    case PlannedVariable::Kind::kInput:
      return neff::VariableType::kInput;
    case PlannedVariable::Kind::kOutput:
      return neff::VariableType::kOutput;
    case PlannedVariable::Kind::kFile:
      return neff::VariableType::kFile;
    case PlannedVariable::Kind::kScratch:
      break;
  }
  return neff::VariableType::kTmpBuf;
}

// The constant as an .npy file of the type it is stored as. Its dimensions stay, for people.
neff::Blob WeightFile(const Value& constant, DType stored) {
  const auto file = [&](ByteSpan data) {
    const bool is_large = data.size() >= neff::kAlignedFrom;
    return neff::Blob::Own(
        SerializeNpy(stored, constant.shape, data, is_large ? neff::kNpyAlignment : 64));
  };
  if (stored == constant.dtype) return file(*constant.data);
  return file(StoredElements(constant, stored));
}

// The folder of one piece.
class SubgraphEmitter {
 public:
  SubgraphEmitter(const PieceProgram& program, uint32_t number, neff::NeffContents& contents)
      : graph_(*program.graph),
        plan_(program.plan),
        schedule_(program.schedule),
        folder_(fmt::format("sg{:02}", number)),
        contents_(contents) {}

  neff::Subgraph Emit() {
    EmitVariables();
    EmitEngines();
    return std::move(subgraph_);
  }

 private:
  void EmitVariables() {
    subgraph_.name = folder_;
    subgraph_.definition = fmt::format("{}/def.json", folder_);
    subgraph_.version = kDefinitionVersion;
    for (const PlannedVariable& planned : plan_.variables) {
      neff::Variable variable;
      variable.name = planned.name;
      variable.type = TypeOf(planned.kind);
      variable.var_id = planned.var_id;
      variable.size = planned.size;
      if (planned.kind == PlannedVariable::Kind::kFile) {
        // Numbered, because a tensor's name may be no file name.
        variable.file_name = fmt::format("weight-{:04}.npy", planned.var_id);
        contents_.files[subgraph_.PathOf(variable.file_name)] =
            WeightFile(graph_.at(planned.value), planned.dtype);
      }
      if (planned.kind == PlannedVariable::Kind::kFile ||
          planned.kind == PlannedVariable::Kind::kScratch)
        variable.alignment = kAlignment;
      subgraph_.variables.push_back(std::move(variable));
    }
  }

  void EmitEngines() {
    for (const sim::Stream& stream : schedule_.streams) {
      const auto& transfers = schedule_.transfers[static_cast<size_t>(stream.engine)];
      neff::EngineProgram program;
      program.engine = sim::EngineName(stream.engine);
      program.json_file = UpperName(stream.engine) + ".json";
      program.instruction_file = UpperName(stream.engine) + ".bin";
      program.instructions = neff::Blob::Own(sim::EncodeStream(stream));
      program.lookups = schedule_.lookups[static_cast<size_t>(stream.engine)];
      for (const Transfer& transfer : transfers) program.dma.push_back(TriggerOf(transfer, stream));
      subgraph_.engines.push_back(std::move(program));
      EmitQueue(stream.engine, transfers, true);
      EmitQueue(stream.engine, transfers, false);
    }
    std::sort(subgraph_.queues.begin(), subgraph_.queues.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
  }

  static neff::DmaTrigger TriggerOf(const Transfer& transfer, const sim::Stream& stream) {
    neff::DmaTrigger trigger;
    trigger.id = transfer.id;
    trigger.queue = QueueName(stream.engine, transfer.is_input);
    trigger.semaphore = transfer.semaphore;
    // The variables' indices are their ids here.
    auto host = neff::AccessPattern::Contiguous(transfer.host_variable, 0, transfer.bytes);
    auto device = neff::AccessPattern::Contiguous(transfer.device_variable, transfer.device_offset,
                                                  transfer.bytes);
    trigger.desc.from = transfer.is_input ? host : device;
    trigger.desc.to = transfer.is_input ? std::move(device) : std::move(host);
    return trigger;
  }

  // Inputs and outputs have queues of their own, so that one never stands in the other's way.
  void EmitQueue(sim::Engine engine, const std::vector<Transfer>& transfers, bool is_input) {
    if (std::none_of(transfers.begin(), transfers.end(),
                     [&](const Transfer& transfer) { return transfer.is_input == is_input; }))
      return;
    neff::QueueSet queue;
    queue.name = QueueName(engine, is_input);
    queue.type = is_input ? "in" : "out";
    queue.owner = sim::EngineName(engine);
    subgraph_.queues.push_back(std::move(queue));
  }

  const Graph& graph_;
  const MemoryPlan& plan_;
  const Schedule& schedule_;
  const std::string folder_;
  neff::Subgraph subgraph_;
  neff::NeffContents& contents_;
};

class Emitter {
 public:
  Emitter(const Graph& graph, const std::vector<Stage>& stages,
          const std::vector<PieceProgram>& programs)
      : graph_(graph), stages_(stages), programs_(programs) {}

  Result<neff::NeffContents> Emit(const std::string& name) {
    EmitInputs();
    for (const Stage& stage : stages_) {
      if (stage.call) {
        EmitCall(stage);
      } else {
        EmitCores(stage);
      }
    }
    for (ValueId id : graph_.outputs)
      contents_.graph.outputs.push_back({graph_.at(id).name, TensorOf(id)});
    neff::Header& header = contents_.header;
    header.build_version = kBuildVersion;
    header.name = name;
    NRTD_ASSIGN(header.uuid, Uuid());
    return std::move(contents_);
  }

 private:
  uint32_t AddTensor(ValueId id, uint32_t node) {
    const Value& value = graph_.at(id);
    const auto index = static_cast<uint32_t>(contents_.graph.tensors.size());
    contents_.graph.tensors.push_back(
        {value.name, value.dtype, value.shape, value.Bytes(), index, node});
    return index;
  }
  // Where the value lies; the latest stage that hands it on, if several do.
  uint32_t TensorOf(ValueId id) const { return tensors_.at(id); }

  void EmitInputs() {
    neff::Graph& graph = contents_.graph;
    for (ValueId id : graph_.inputs) {
      const auto index = static_cast<uint32_t>(graph.nodes.size());
      tensors_[id] = AddTensor(id, index);
      neff::Node input;
      input.name = graph_.at(id).name;
      input.outputs = {TensorOf(id)};
      graph.nodes.push_back(std::move(input));
      graph.inputs.push_back({graph_.at(id).name, TensorOf(id)});
    }
  }

  void AddNode(neff::Node node, const Stage& stage) {
    const auto index = static_cast<uint32_t>(contents_.graph.nodes.size());
    for (ValueId id : stage.inputs) node.inputs.push_back(TensorOf(id));
    for (ValueId id : stage.outputs) node.outputs.push_back(tensors_[id] = AddTensor(id, index));
    contents_.graph.nodes.push_back(std::move(node));
  }

  void EmitCall(const Stage& stage) {
    neff::Node node;
    node.kind = neff::NodeKind::kHostFunction;
    node.name = fmt::format("host{:02}_{}", contents_.graph.nodes.size(), stage.call->function);
    node.func_name = stage.call->function;
    node.attrs = stage.call->attributes;
    AddNode(std::move(node), stage);
  }

  void EmitCores(const Stage& stage) {
    neff::Node node;
    node.kind = neff::NodeKind::kKelf;
    node.name = fmt::format("sg{:02}_node", next_piece_);
    node.func_name = neff::kKelfFunction;
    node.kelf = fmt::format("kelf-{}.json", contents_.kelfs.size());
    neff::Kelf& kelf = contents_.kelfs[node.kelf];
    kelf.version = kKelfVersion;
    kelf.target = neff::kSimTarget;
    for (size_t i = 0; i < stage.pieces.size(); ++i, ++next_piece_) {
      kelf.subgraphs.push_back(
          SubgraphEmitter(programs_[next_piece_], next_piece_, contents_).Emit());
    }
    AddNode(std::move(node), stage);
  }

  // The digest of the digests of all parts.
  Result<std::array<uint8_t, 16>> Uuid() const {
    std::string digests = contents_.header.name + '\n' + contents_.header.build_version + '\n';
    const auto add = [&](std::string_view what, ByteSpan bytes) {
      digests += fmt::format("{} {}\n", what, Hex(Sha256(bytes)));
    };
    NRTD_ASSIGN(const std::string graph, neff::SerializeGraph(contents_.graph));
    add(neff::kGraphFile, AsBytes(graph));
    for (const auto& [name, kelf] : contents_.kelfs) {
      for (const neff::Subgraph& subgraph : kelf.subgraphs) {
        NRTD_ASSIGN(const std::string definition, neff::SerializeDefinition(subgraph));
        add(subgraph.definition, AsBytes(definition));
        for (const neff::EngineProgram& engine : subgraph.engines) {
          NRTD_ASSIGN(const std::string json, neff::SerializeEngine(subgraph, engine));
          add(engine.json_file, AsBytes(json));
          add(engine.instruction_file, engine.instructions.bytes());
        }
      }
    }
    for (const auto& [path, blob] : contents_.files) add(path, blob.bytes());
    const Sha256Digest digest = Sha256(AsBytes(digests));
    std::array<uint8_t, 16> uuid{};
    std::copy_n(digest.begin(), uuid.size(), uuid.begin());
    return uuid;
  }

  const Graph& graph_;
  const std::vector<Stage>& stages_;
  const std::vector<PieceProgram>& programs_;
  std::map<ValueId, uint32_t> tensors_;
  uint32_t next_piece_ = 0;
  neff::NeffContents contents_;
};

}  // namespace

sim::ProgramContext ContextOf(const MemoryPlan& plan, const Schedule& schedule) {
  sim::ProgramContext context;
  for (const PlannedVariable& variable : plan.variables) {
    const bool is_port = variable.kind == PlannedVariable::Kind::kInput ||
                         variable.kind == PlannedVariable::Kind::kOutput;
    context.variables.push_back({variable.var_id, variable.size, !is_port,
                                 variable.kind == PlannedVariable::Kind::kScratch});
  }
  for (size_t e = 0; e < sim::kEngines; ++e) {
    for (const Transfer& transfer : schedule.transfers[e])
      context.dma_ids[e].push_back(transfer.id);
  }
  return context;
}

Result<neff::NeffContents> Emit(const Graph& graph, const std::vector<Stage>& stages,
                                const std::vector<PieceProgram>& programs,
                                const std::string& name) {
  for (const PieceProgram& program : programs) {
    const sim::ProgramContext context = ContextOf(program.plan, program.schedule);
    for (const sim::Stream& stream : program.schedule.streams) {
      auto valid = sim::Validate(stream, context);
      if (!valid)
        return Fail(Nerr::kFail, "the compiler made an invalid program, please report it: {}",
                    AsIs(valid.error().text));
    }
  }
  return Emitter(graph, stages, programs).Emit(name);
}

}  // namespace nrtd::compiler
