// SPDX-License-Identifier: Apache-2.0
//
// Whatever bytes a client sends: reading them ends with a Neff or an Error, and a Neff keeps what
// its headers promise.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/printable.h"
#include "neff/neff.h"
#include "neff/validator.h"

namespace nrtd::neff {
namespace {

// Tight, so that an input which reaches a limit does so in a moment.
Limits TightLimits() {
  Limits limits;
  limits.max_neff_bytes = 1 * kMiB;
  limits.max_unpacked_bytes = 4 * kMiB;
  limits.ratio_free_bytes = 1 * kMiB;
  limits.max_files = 256;
  limits.max_path_bytes = 128;
  limits.max_json_bytes = 256 * kKiB;
  limits.max_json_values = 20'000;
  limits.max_json_depth = 16;
  limits.max_nodes = 256;
  limits.max_tensors = 512;
  limits.max_variables = 256;
  limits.max_queues = 64;
  limits.max_descriptors = 1000;
  return limits;
}

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

void CheckSubgraph(const Subgraph& subgraph) {
  for (const Variable& variable : subgraph.variables) {
    if (!variable.data.empty())
      Require(variable.size && variable.data.size() <= *variable.size, "data fits its variable");
  }
  for (const EngineProgram& engine : subgraph.engines) {
    for (const DmaTrigger& trigger : engine.dma) {
      Require(trigger.desc.to.variable < subgraph.variables.size(), "descriptor names a variable");
      const Variable& to = subgraph.variables[trigger.desc.to.variable];
      const auto extent = ExtentOf(trigger.desc.to);
      Require(extent && (!to.size || extent->end <= *to.size), "descriptor stays in its variable");
    }
  }
}

void CheckNeff(const Neff& neff) {
  const Graph& graph = neff.graph();
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    for (const uint32_t tensor : node.inputs)
      Require(graph.tensors.at(tensor).node < i, "inputs come from earlier nodes");
    for (const uint32_t tensor : node.outputs)
      Require(graph.tensors.at(tensor).node == i, "outputs are the node's own");
    if (node.kind == NodeKind::kKelf) {
      for (const Subgraph& subgraph : neff.kelf(node).subgraphs) CheckSubgraph(subgraph);
    }
  }
  for (const Port& port : graph.inputs) Require(port.tensor < graph.tensors.size(), "input");
  for (const Port& port : graph.outputs) Require(port.tensor < graph.tensors.size(), "output");
  Require(neff.LargestNodeCores() <= neff.CoresRequired(), "a node is a part");
  for (const auto& [path, bytes] : neff.archive().files())
    Require(CheckPath(path).has_value(), "paths are plain");
}

void Read(const ByteVector& bytes) {
  const auto neff = ReadNeff(bytes, TightLimits());
  if (!neff) {
    Require(neff.error().code == Nerr::kInvalid && !neff.error().text.empty(), "code 2, a text");
    Require(IsPrintable(neff.error().text), "the text is printable");
    return;
  }
  CheckNeff(*neff);
  static_cast<void>(CheckExecutable(*neff, kSimTarget));
}

// Makes the header's size and the tar's checksums right, so that a change behind them is not
// refused for those alone.
void Repair(ByteVector& bytes) {
  constexpr size_t kBlock = 512;
  constexpr size_t kSizeAt = 124;
  constexpr size_t kChecksumAt = 148;
  StoreAt<uint64_t>(bytes, offset::kPkgVersion, 1 + (LoadAt<uint64_t>(bytes, 0) & 1));
  StoreAt<uint64_t>(bytes, offset::kHeaderSize, kHeaderSize);
  StoreAt<uint64_t>(bytes, offset::kDataSize, bytes.size() - kHeaderSize);
  for (size_t at = kHeaderSize; at + kBlock <= bytes.size();) {
    if (bytes[at] == std::byte{0}) break;
    uint64_t sum = 0;
    for (size_t i = 0; i < kBlock; ++i) {
      const bool in_checksum = i >= kChecksumAt && i < kChecksumAt + 8;
      sum += in_checksum ? ' ' : std::to_integer<uint64_t>(bytes[at + i]);
    }
    const std::string text = fmt::format("{:06o}", sum);
    std::ranges::copy(AsBytes(text), bytes.begin() + static_cast<ptrdiff_t>(at + kChecksumAt));
    uint64_t size = 0;
    for (size_t i = 0; i < 11; ++i)
      size = size * 8 + (std::to_integer<uint64_t>(bytes[at + kSizeAt + i]) & 7);
    at += kBlock + AlignUp(size, kBlock);
  }
}

}  // namespace
}  // namespace nrtd::neff

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto* begin = reinterpret_cast<const std::byte*>(data);
  nrtd::ByteVector bytes(begin, begin + size);
  nrtd::neff::Read(bytes);
  if (size <= nrtd::neff::kHeaderSize) return 0;
  nrtd::neff::Repair(bytes);
  nrtd::neff::Read(bytes);
  return 0;
}
