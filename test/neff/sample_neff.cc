// SPDX-License-Identifier: Apache-2.0
#include "test/neff/sample_neff.h"

#include <algorithm>
#include <numeric>

#include "base/npy.h"

namespace nrtd::neff {

ByteVector Counting(size_t size) {
  ByteVector bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i);
  return bytes;
}

namespace {

constexpr uint64_t kRow = 16;  // bytes of the 1x4 float32 tensors

Node InputNode(const std::string& name, uint32_t tensor, bool is_param) {
  Node node;
  node.name = name;
  node.outputs = {tensor};
  node.is_param = is_param;
  return node;
}

Graph SampleGraph() {
  Graph graph;
  graph.nodes = {InputNode("x", 0, false), InputNode("unused", 1, false),
                 InputNode("table", 2, true)};
  Node kelf;
  kelf.kind = NodeKind::kKelf;
  kelf.name = "sg_core";
  kelf.func_name = std::string(kKelfFunction);
  kelf.kelf = "kelf-0.json";
  kelf.inputs = {0};
  kelf.outputs = {3, 4};
  kelf.attrs = {{"flatten_data", "0"}};
  graph.nodes.push_back(kelf);
  Node host;
  host.kind = NodeKind::kHostFunction;
  host.name = "softmax0";
  host.func_name = "softmax";
  host.inputs = {4, 2};
  host.outputs = {5};
  host.attrs = {{"axis", "1"}};
  graph.nodes.push_back(host);
  const char* names[] = {"x", "unused", "table", "mid:0", "mid:1", "output:0"};
  const uint32_t producers[] = {0, 1, 2, 3, 3, 4};
  for (uint32_t i = 0; i < 6; ++i)
    graph.tensors.push_back({names[i], DType::kFloat32, {1, 4}, kRow, i, producers[i]});
  graph.inputs = {{"input:0", 0}, {"unused:0", 1}};
  graph.outputs = {{"output:0", 5}, {"mid:0", 3}};
  return graph;
}

std::vector<Variable> SampleVariables(uint32_t core) {
  Variable x;
  x.name = "x";
  x.type = VariableType::kInput;
  x.var_id = 1;
  x.size = kRow;
  Variable w;
  w.name = "w";
  w.type = VariableType::kFile;
  w.var_id = 2;
  w.size = 64;
  w.alignment = 64;
  w.file_name = core == 0 ? "w.npy" : "w.raw";
  Variable state;
  state.name = "SB";
  state.type = VariableType::kStateBuffer;
  state.var_id = 3;
  state.size = 4096;
  Variable table;
  table.name = "table";
  table.type = VariableType::kDgeTable;
  table.var_id = 4;
  table.list = {1, 2};
  Variable y;
  y.name = "y";
  y.type = VariableType::kOutput;
  y.var_id = 7;
  y.size = kRow;
  return {x, w, state, table, y};
}

Subgraph SampleSubgraph(uint32_t core) {
  Subgraph subgraph;
  subgraph.name = fmt::format("sg{:02}", core);
  subgraph.definition = subgraph.name + "/def.json";
  subgraph.version = "0.6";
  subgraph.variables = SampleVariables(core);
  QueueSet in;
  in.name = "qIn";
  in.type = "in";
  in.owner = "pool";
  in.semaphore = 3;
  QueueSet out;
  out.name = "qOut";
  out.type = "out";
  out.owner = "act";
  subgraph.queues = {in, out};
  EngineProgram pe{"pe", "PE.json", "PE.bin", Blob::Own(Counting(64)), {}};
  EngineProgram act{"act", "Activation.json", "Activation.bin", Blob::Own(Counting(32)), {}};
  EngineProgram pool{"pool", "Pool.json", "Pool.bin", Blob::Own(Counting(48)), {}};
  DmaTrigger load;
  load.id = 1;
  load.queue = "qIn";
  load.semaphore = 3;
  load.desc.from = AccessPattern::Contiguous(0, 0, kRow);
  load.desc.to = {2, 128, {1, 256}, {4, 4}};  // a row of 4 bytes into each of 4 partitions
  DmaTrigger weights = load;
  weights.desc.from = AccessPattern::Contiguous(1, 0, 64);
  weights.desc.to = AccessPattern::Contiguous(2, 1024, 64);
  pool.dma = {load, weights};
  DmaTrigger store;
  store.id = 2;
  store.queue = "qOut";
  store.event = 17;
  store.desc.from = {2, 128, {1, 256}, {4, 4}};
  store.desc.to = AccessPattern::Contiguous(4, 0, kRow);
  act.dma = {store};
  subgraph.engines = {pe, act, pool};
  return subgraph;
}

}  // namespace

NeffContents SampleContents() {
  NeffContents contents;
  contents.header.build_version = "neuron-cc test";
  contents.header.name = "sample.neff";
  std::iota(contents.header.uuid.begin(), contents.header.uuid.end(), uint8_t{0xa0});
  contents.graph = SampleGraph();
  contents.kelfs["kelf-0.json"] = {"0.5", "sim-inf1", {SampleSubgraph(0), SampleSubgraph(1)}};
  const Shape shape = {4, 4};
  contents.files["sg00/w.npy"] = Blob::Own(SerializeNpy(DType::kFloat32, shape, Counting(64)));
  contents.files["sg01/w.raw"] = Blob::Own(Counting(60));
  return contents;
}

ByteVector SampleNeff(const WriteOptions& options) {
  return SerializeNeff(SampleContents(), options).value();
}

ByteVector NeffOf(ByteSpan data, Header header) {
  header.data_size = data.size();
  header.hash = DataHash(header.pkg_version, data);
  const auto head = SerializeHeader(header).value();
  ByteVector neff(head.size() + data.size());
  std::ranges::copy(head, neff.begin());
  std::ranges::copy(data, neff.begin() + kHeaderSize);
  return neff;
}

std::map<std::string, std::string> SampleFiles() {
  const Neff neff = ReadNeff(SampleNeff()).value();
  std::map<std::string, std::string> files;
  for (const auto& [path, bytes] : neff.archive().files()) files.emplace(path, AsText(bytes));
  return files;
}

}  // namespace nrtd::neff
