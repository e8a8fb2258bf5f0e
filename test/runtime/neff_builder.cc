// SPDX-License-Identifier: Apache-2.0
#include "test/runtime/neff_builder.h"

#include "base/file.h"
#include "base/npy.h"
#include "compiler/compile.h"
#include "neff/validator.h"
#include "test/base/scratch_directory.h"
#include "test/driver_shim/sim_fixture.h"
#include "test/must.h"

namespace nrtd::runtime {
namespace {

constexpr uint32_t kInput = 0;  // var_ids, and indices
constexpr uint32_t kOutput = 1;
constexpr uint32_t kData = kStageData;

neff::Variable MakeVariable(const std::string& name, neff::VariableType type, uint32_t id,
                            uint64_t size) {
  neff::Variable variable;
  variable.name = name;
  variable.type = type;
  variable.var_id = id;
  variable.size = size;
  return variable;
}

neff::QueueSet MakeQueue(const std::string& name, const std::string& type) {
  neff::QueueSet queue;
  queue.name = name;
  queue.type = type;
  queue.owner = "pool";
  return queue;
}

neff::DmaTrigger MakeTrigger(uint32_t id, const std::string& queue, uint32_t from, uint32_t to,
                             uint64_t bytes) {
  neff::DmaTrigger trigger;
  trigger.id = id;
  trigger.queue = queue;
  trigger.semaphore = id;
  trigger.desc.from = neff::AccessPattern::Contiguous(from, 0, bytes);
  trigger.desc.to = neff::AccessPattern::Contiguous(to, 0, bytes);
  return trigger;
}

neff::EngineProgram MakeEngine(sim::Engine engine, std::vector<sim::Instruction> instructions) {
  neff::EngineProgram program;
  program.engine = sim::EngineName(engine);
  program.json_file = program.engine + ".json";
  program.instruction_file = program.engine + ".bin";
  instructions.push_back(sim::End{});
  program.instructions = neff::Blob::Own(sim::EncodeStream({engine, std::move(instructions)}));
  return program;
}

neff::Subgraph MakeStage(const std::string& name, const std::string& input,
                         const std::string& output, uint32_t count, const StageSpec& spec) {
  using neff::VariableType;
  const uint64_t bytes = count * sizeof(float);
  neff::Subgraph stage;
  stage.name = name;
  stage.definition = name + "/def.json";
  stage.version = "0.5";
  stage.variables = {MakeVariable(input, VariableType::kInput, kInput, bytes),
                     MakeVariable(output, VariableType::kOutput, kOutput, bytes),
                     MakeVariable("data", VariableType::kTmpBuf, kData, bytes)};
  if (!spec.weights.empty()) {
    stage.variables.push_back(MakeVariable("weights", VariableType::kFile,
                                           static_cast<uint32_t>(stage.variables.size()),
                                           spec.weights.size() * sizeof(float)));
    stage.variables.back().file_name = "weights.npy";
  }
  if (spec.scratch_bytes > 0) {
    stage.variables.push_back(MakeVariable("scratch", VariableType::kTmpBuf,
                                           static_cast<uint32_t>(stage.variables.size()),
                                           spec.scratch_bytes));
  }
  stage.queues = {MakeQueue("qIn", "in"), MakeQueue("qOut", "out")};
  constexpr uint32_t kWeights = 3;  // if there are any
  const sim::Operand x = sim::DenseOperand(kData, DType::kFloat32, 0, {count});
  const bool computes_weights = spec.weights_use == StageSpec::Use::kComputed;
  const sim::Operand from =
      computes_weights ? sim::DenseOperand(kWeights, DType::kFloat32, 0, {count}) : x;
  std::vector<sim::Instruction> act = {
      sim::SemaphoreWait{0, 1}, sim::Activation{from, x, spec.function, spec.alpha, spec.beta}};
  act.insert(act.end(), spec.act.begin(), spec.act.end());
  act.push_back(sim::SemaphoreSignal{2});
  std::vector<sim::Instruction> pe = {sim::SemaphoreWait{2, 1}};
  pe.insert(pe.end(), spec.pe.begin(), spec.pe.end());
  pe.push_back(sim::SemaphoreSignal{3});
  neff::EngineProgram pool = MakeEngine(
      sim::Engine::kPool,
      {sim::DmaTrigger{0}, sim::SemaphoreWait{3, 1}, sim::DmaTrigger{1}, sim::SemaphoreWait{1, 1}});
  pool.dma = {
      MakeTrigger(0, "qIn", kInput, kData, bytes),
      MakeTrigger(1, "qOut", spec.weights_use == StageSpec::Use::kTransferred ? kWeights : kData,
                  kOutput, bytes)};
  stage.engines = {MakeEngine(sim::Engine::kPe, std::move(pe)),
                   MakeEngine(sim::Engine::kAct, std::move(act)), std::move(pool)};
  return stage;
}

neff::Tensor MakeTensor(const std::string& name, uint32_t count, uint32_t index) {
  return {name, DType::kFloat32, {count}, count * sizeof(float), index, index};
}

neff::Node InputNode(const std::string& name) {
  neff::Node node;
  node.name = name;
  node.outputs = {0};
  return node;
}

// From tensor `index` to the one behind it.
neff::Node KelfNode(uint32_t index) {
  neff::Node node;
  node.kind = neff::NodeKind::kKelf;
  node.name = fmt::format("node{}", index);
  node.func_name = neff::kKelfFunction;
  node.kelf = fmt::format("kelf-{}.json", index);
  node.inputs = {index};
  node.outputs = {index + 1};
  return node;
}

}  // namespace

neff::NeffContents PipelineContents(const PipelineSpec& spec) {
  neff::NeffContents contents;
  contents.header.name = spec.name;
  contents.header.build_version = "test";
  contents.graph.nodes = {InputNode("x"), KelfNode(0)};
  contents.graph.tensors = {MakeTensor("x", spec.count, 0), MakeTensor("y", spec.count, 1)};
  contents.graph.inputs = {{"x", 0}};
  contents.graph.outputs = {{"y", 1}};
  neff::Kelf program{"0.5", std::string(neff::kSimTarget), {}};
  const size_t stages = spec.stages.size();
  for (size_t i = 0; i < stages; ++i) {
    const StageSpec& stage = spec.stages[i];
    program.subgraphs.push_back(
        MakeStage(fmt::format("sg{:02}", i), i == 0 ? "x" : fmt::format("t{}", i - 1),
                  i + 1 == stages ? "y" : fmt::format("t{}", i), spec.count, stage));
    if (!stage.weights.empty()) {
      const Shape shape = {static_cast<int64_t>(stage.weights.size())};
      contents.files[program.subgraphs.back().PathOf("weights.npy")] = neff::Blob::Own(
          SerializeNpy(DType::kFloat32, shape, std::as_bytes(std::span(stage.weights))));
    }
  }
  contents.kelfs["kelf-0.json"] = std::move(program);
  return contents;
}

namespace {

neff::Node HostNodeOf(const std::string& name, const std::string& function, uint32_t input,
                      uint32_t output) {
  neff::Node node;
  node.kind = neff::NodeKind::kHostFunction;
  node.name = name;
  node.func_name = function;
  node.inputs = {input};
  node.outputs = {output};
  return node;
}

}  // namespace

neff::NeffContents ChainContents(const std::vector<size_t>& stages_of_node, uint32_t count) {
  neff::NeffContents contents;
  contents.header.name = "chain";
  contents.header.build_version = "test";
  contents.graph.nodes = {InputNode("x")};
  contents.graph.tensors = {MakeTensor("x", count, 0)};
  const StageSpec doubling = DoublingSpec(1).stages[0];
  for (uint32_t n = 0; n < stages_of_node.size(); ++n) {
    const bool last = n + 1 == stages_of_node.size();
    const std::string from = contents.graph.tensors.back().name;
    const std::string to = last ? "y" : fmt::format("m{}", n);
    neff::Kelf program{"0.5", std::string(neff::kSimTarget), {}};
    for (size_t s = 0; s < stages_of_node[n]; ++s) {
      program.subgraphs.push_back(
          MakeStage(fmt::format("n{}sg{:02}", n, s), s == 0 ? from : fmt::format("t{}", s - 1),
                    s + 1 == stages_of_node[n] ? to : fmt::format("t{}", s), count, doubling));
    }
    contents.graph.nodes.push_back(KelfNode(n));
    contents.graph.tensors.push_back(MakeTensor(to, count, n + 1));
    contents.kelfs[contents.graph.nodes.back().kelf] = std::move(program);
  }
  contents.graph.inputs = {{"x", 0}};
  contents.graph.outputs = {{"y", static_cast<uint32_t>(stages_of_node.size())}};
  return contents;
}

neff::NeffContents HostedContents(size_t stages, uint32_t count) {
  neff::NeffContents contents = PipelineContents(DoublingSpec(stages, count));
  neff::Node kelf = contents.graph.nodes[1];
  kelf.inputs = {1};
  kelf.outputs = {2};
  contents.graph.nodes = {contents.graph.nodes[0], HostNodeOf("copy", "__nop", 0, 1), kelf,
                          HostNodeOf("choose", "nrt_argmax", 2, 3)};
  neff::Tensor chosen{"class", DType::kInt64, {}, sizeof(int64_t), 3, 3};
  contents.graph.tensors = {MakeTensor("input", count, 0), MakeTensor("x", count, 1),
                            MakeTensor("y", count, 2), chosen};
  contents.graph.inputs = {{"x", 0}};
  contents.graph.outputs = {{"class", 3}, {"y", 2}};
  return contents;
}

neff::NeffContents HostOnlyContents() {
  neff::NeffContents contents = PipelineContents(DoublingSpec(1, 6));
  contents.graph.nodes = {contents.graph.nodes[0], HostNodeOf("turn", "nrt_transpose", 0, 1)};
  contents.graph.tensors[0].shape = {2, 3};
  contents.graph.tensors[1].shape = {3, 2};
  contents.kelfs.clear();
  return contents;
}

ByteVector NeffBytes(const neff::NeffContents& contents) {
  return Must(neff::SerializeNeff(contents));
}

ByteVector PipelineNeff(const PipelineSpec& spec) {
  return NeffBytes(PipelineContents(spec));
}

neff::Neff Executable(const neff::NeffContents& contents) {
  return Must(neff::ReadExecutable(NeffBytes(contents), neff::kSimTarget));
}

PipelineSpec DoublingSpec(size_t stages, uint32_t count) {
  PipelineSpec spec;
  spec.count = count;
  StageSpec stage;
  stage.alpha = 2;
  stage.beta = 1;
  spec.stages.assign(stages, stage);
  return spec;
}

float Doubled(float value, size_t stages) {
  for (size_t i = 0; i < stages; ++i) value = 2 * value + 1;
  return value;
}

ByteVector DigitsNeffFor(uint32_t batch) {
  const ScratchDirectory folder;
  const std::string path = folder.File("digits.neff");
  compiler::CompileOptions options;
  options.batch = batch;
  Must(compiler::CompileOnnx(std::string(NRTD_SOURCE_DIR) + "/models/digits/digits.onnx", path,
                             options));
  return Must(ReadFile(path));
}

const ByteVector& DigitsNeff() {
  static const ByteVector neff = DigitsNeffFor(1);
  return neff;
}

}  // namespace nrtd::runtime
