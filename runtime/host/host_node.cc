// SPDX-License-Identifier: Apache-2.0
#include "runtime/host/host_node.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>

namespace nrtd::runtime {
namespace {

bool HoldsNaN(ByteSpan floats) {
  for (size_t at = 0; at + sizeof(float) <= floats.size(); at += sizeof(float)) {
    float value = 0;
    std::memcpy(&value, floats.data() + at, sizeof(value));
    if (std::isnan(value)) return true;
  }
  return false;
}

}  // namespace

Result<std::unique_ptr<HostNode>> HostNode::Create(const neff::Graph& graph, uint32_t index,
                                                   const TensorLayout& layout) {
  const neff::Node& node = graph.nodes[index];
  std::unique_ptr<HostNode> host(new HostNode());
  host->index_ = index;
  host->name_ = node.name;
  HostSignature signature;
  signature.attributes = node.attrs;
  for (const uint32_t t : node.inputs) {
    const neff::Tensor& tensor = graph.tensors[t];
    signature.inputs.push_back({tensor.dtype, tensor.shape, tensor.bytes});
    host->inputs_.push_back({layout.tensor_offsets[t], tensor.bytes});
  }
  for (const uint32_t t : node.outputs) {
    const neff::Tensor& tensor = graph.tensors[t];
    const bool leaves = std::any_of(graph.outputs.begin(), graph.outputs.end(),
                                    [&](const neff::Port& port) { return port.tensor == t; });
    if (leaves && tensor.dtype == DType::kFloat32) host->checked_.push_back(host->outputs_.size());
    signature.outputs.push_back({tensor.dtype, tensor.shape, tensor.bytes});
    host->outputs_.push_back({layout.tensor_offsets[t], tensor.bytes});
  }
  auto kernel = PrepareHostFunction(node.func_name, signature);
  if (!kernel) {
    return Fail(kernel.error().code, "node '{}' runs '{}' on the host: {}", node.name,
                node.func_name, AsIs(kernel.error().text));
  }
  host->kernel_ = std::move(*kernel);
  return host;
}

scheduler::HostFunction HostNode::BindTo(MutableByteSpan slot) const {
  std::vector<ByteSpan> inputs;
  std::vector<MutableByteSpan> outputs;
  for (const Place& place : inputs_) inputs.push_back(slot.subspan(place.offset, place.bytes));
  for (const Place& place : outputs_) outputs.push_back(slot.subspan(place.offset, place.bytes));
  return [this, inputs = std::move(inputs), outputs = std::move(outputs)] {
    ExecutionOutcome outcome;
    try {
      kernel_(inputs, outputs);
    } catch (const std::exception& error) {  // no memory, say
      outcome.code = Nerr::kInferCompletedWithErr;
      outcome.detail = FormatText("host node '{}': {}", name_, error.what());
      return outcome;
    }
    for (const size_t index : checked_) {
      if (!HoldsNaN(outputs[index])) continue;
      outcome.code = Nerr::kInferCompletedWithNumErr;
      outcome.detail =
          FormatText("host node '{}': INFER_ERROR_SUBTYPE_NUMERICAL, an output holds NaN", name_);
    }
    return outcome;
  };
}

}  // namespace nrtd::runtime
