// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/tensor_layout.h"

#include <algorithm>
#include <set>

#include "base/sizes.h"
#include "base/wanted.h"

namespace nrtd::runtime {
namespace {

constexpr uint64_t kTensorAlignment = 64;

class LayoutBuilder {
 public:
  LayoutBuilder(const neff::Neff& neff, const std::stop_token& stop)
      : neff_(neff), graph_(neff.graph()), stop_(stop) {}

  Result<TensorLayout> Build() {
    for (const neff::Tensor& tensor : graph_.tensors) {
      NRTD_ASSIGN(const uint64_t offset, Reserve(tensor.bytes));
      layout_.tensor_offsets.push_back(offset);
    }
    for (const neff::Port& port : graph_.inputs)
      layout_.inputs.push_back(MakePort(port, graph_.IsUsed(port.tensor)));
    for (const neff::Port& port : graph_.outputs) layout_.outputs.push_back(MakePort(port, true));
    for (uint32_t n = 0; n < graph_.nodes.size(); ++n) {
      if (graph_.nodes[n].kind == neff::NodeKind::kKelf) NRTD_TRY(AddNode(n));
    }
    return std::move(layout_);
  }

 private:
  Result<uint64_t> Reserve(uint64_t bytes) {
    const uint64_t offset = layout_.slot_bytes;
    if (bytes > kDramLimit - offset)
      return Fail(Nerr::kInvalid, "the model's inputs and outputs exceed {} bytes", kDramLimit);
    layout_.slot_bytes = AlignUp(offset + std::max<uint64_t>(bytes, 1), kTensorAlignment);
    return offset;
  }

  TensorPort MakePort(const neff::Port& port, bool used) const {
    const neff::Tensor& tensor = graph_.tensors[port.tensor];
    const auto batch = neff_.info().batches.find(port.name);
    return {port.name,
            tensor.dtype,
            tensor.shape,
            tensor.bytes,
            layout_.tensor_offsets[port.tensor],
            used,
            batch == neff_.info().batches.end() ? 0 : batch->second};
  }

  Result<void> AddNode(uint32_t n) {
    const neff::Node& node = graph_.nodes[n];
    for (const std::vector<uint32_t>* tensors : {&node.inputs, &node.outputs}) {
      for (uint32_t t : *tensors) NRTD_TRY(AddTensor(n, t));
    }
    // What is not there yet are variables by which one subgraph feeds the next.
    std::set<std::string_view> made;
    for (const neff::Subgraph& subgraph : neff_.kelf(node).subgraphs) {
      for (const neff::Variable& variable : subgraph.variables) {
        NRTD_TRY(CheckWanted(stop_));
        if (variable.type == neff::VariableType::kOutput) made.insert(variable.name);
        if (variable.type == neff::VariableType::kInput ||
            variable.type == neff::VariableType::kOutput) {
          NRTD_TRY(AddVariable(n, subgraph, variable));
        }
      }
    }
    for (uint32_t t : node.outputs) {
      if (!made.contains(graph_.tensors[t].name)) {
        return Fail(Nerr::kInvalid, "no subgraph of node '{}' makes its output '{}'", node.name,
                    graph_.tensors[t].name);
      }
    }
    return {};
  }

  Result<void> AddTensor(uint32_t n, uint32_t t) {
    const neff::Tensor& tensor = graph_.tensors[t];
    const NodeTensor place{tensor.bytes, layout_.tensor_offsets[t]};
    const auto& known = layout_.node_tensors[n].try_emplace(tensor.name, place).first->second;
    if (known.slot_offset == place.slot_offset) return {};
    return Fail(Nerr::kInvalid, "node '{}' has two tensors '{}': no variable can stand for both",
                graph_.nodes[n].name, tensor.name);
  }

  Result<void> AddVariable(uint32_t n, const neff::Subgraph& subgraph,
                           const neff::Variable& variable) {
    if (auto known = layout_.Find(n, variable.name)) {
      if ((*known)->bytes == *variable.size) return {};
      return Fail(Nerr::kInvalid, "{}: variable '{}' has {} bytes, the graph says {}",
                  subgraph.name, variable.name, *variable.size, (*known)->bytes);
    }
    NRTD_ASSIGN(const uint64_t offset, Reserve(*variable.size));
    layout_.node_tensors[n].emplace(variable.name, NodeTensor{*variable.size, offset});
    return {};
  }

  static constexpr uint64_t kDramLimit = 4 * kGiB;

  const neff::Neff& neff_;
  const neff::Graph& graph_;
  const std::stop_token& stop_;
  TensorLayout layout_;
};

}  // namespace

Result<const NodeTensor*> TensorLayout::Find(uint32_t node, std::string_view name) const {
  if (const auto tensors = node_tensors.find(node); tensors != node_tensors.end()) {
    const auto found = tensors->second.find(name);
    if (found != tensors->second.end()) return &found->second;
  }
  return Fail(Nerr::kInvalid, "node {} has no tensor '{}'", node, name);
}

Result<TensorLayout> LayOutTensors(const neff::Neff& neff, const std::stop_token& stop) {
  return LayoutBuilder(neff, stop).Build();
}

}  // namespace nrtd::runtime
