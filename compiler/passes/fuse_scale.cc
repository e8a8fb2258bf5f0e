// SPDX-License-Identifier: Apache-2.0
#include "compiler/passes/links.h"
#include "compiler/passes/passes.h"

namespace nrtd::compiler {
namespace {

// The factor of each output channel, if the value is that for an output of this shape whose
// channels are dimension `channel`.
std::optional<std::vector<float>> FactorsOf(const Value& value, const Shape& output,
                                            size_t channel) {
  const auto count = static_cast<uint64_t>(output[channel]);
  if (!value.IsConstant() || value.dtype != DType::kFloat32 || value.Elements() != count)
    return std::nullopt;
  Shape channels(output.size(), 1);
  channels[channel] = output[channel];
  if (!RepeatsTo(value.shape, channels) || value.shape.size() + channel < output.size())
    return std::nullopt;
  return FloatsOf(value);
}

class ScaleFuser {
 public:
  explicit ScaleFuser(Graph& graph) : links_(graph) {}

  void Run() {
    Graph& graph = links_.graph();
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      if (Fuse(graph.nodes[i])) links_.Remove(i);
    }
    links_.Sweep();
  }

 private:
  bool Fuse(const Node& scale) {
    if (const auto line = links_.LineOf(scale.output); line && line->beta == 0)
      return FuseInto(line->x, scale.output, [&](const Value& output, size_t channel) {
        return std::optional(
            std::vector<float>(static_cast<size_t>(output.shape[channel]), line->alpha));
      });
    const auto factors = links_.PairOf(scale.output, sim::BinaryFunction::kMultiply);
    if (!factors) return false;
    const auto by = [&](ValueId id) {
      return [this, id](const Value& output, size_t channel) {
        return FactorsOf(links_.at(id), output.shape, channel);
      };
    };
    return FuseInto(factors->first, scale.output, by(factors->second)) ||
           FuseInto(factors->second, scale.output, by(factors->first));
  }

  // Into the node that makes `product`, of which nobody else may know.
  template <typename Factors>
  bool FuseInto(ValueId product, ValueId scaled, const Factors& factors_for) {
    const size_t maker = links_.MakerOf(product);
    if (maker == Graph::kNoNode || !links_.UsedOnce(product)) return false;
    Node& node = links_.graph().nodes[maker];
    const Value& output = links_.at(product);
    if (node.inputs.size() < 2 || !links_.at(node.inputs[1]).IsConstant() ||
        output.shape != links_.at(scaled).shape)
      return false;
    // Which dimension of the output, and which of the weights, counts channels.
    size_t channel = 1;
    size_t weight_channel = 0;
    if (const auto* conv = std::get_if<Conv>(&node.operation)) {
      if (conv->fused) return false;
    } else if (const auto* product_of = std::get_if<MatMul>(&node.operation)) {
      if (product_of->fused || output.shape.empty() || links_.at(node.inputs[1]).shape.size() != 2)
        return false;
      channel = output.shape.size() - 1;
      weight_channel = product_of->transpose_b ? 0 : 1;
    } else {
      return false;
    }
    const auto factors = factors_for(output, channel);
    if (!factors) return false;
    // A bias that is not constant, or not one number a channel, would have to be scaled by itself.
    if (node.inputs.size() == 3) {
      const Value& bias = links_.at(node.inputs[2]);
      if (!bias.IsConstant() || bias.shape.empty() || bias.Elements() != factors->size() ||
          bias.shape.back() != static_cast<int64_t>(factors->size()))
        return false;
      node.inputs[2] = Scaled(node.inputs[2], bias.shape.size() - 1, *factors);
    }
    node.inputs[1] = Scaled(node.inputs[1], weight_channel, *factors);
    node.output = scaled;
    links_.SetMaker(scaled, maker);
    return true;
  }

  ValueId Scaled(ValueId id, size_t channel, const std::vector<float>& factors) {
    Value value = links_.at(id);
    std::vector<float> elements = FloatsOf(value);
    const auto inner = static_cast<size_t>(DenseStrides(value.shape)[channel]);
    for (size_t i = 0; i < elements.size(); ++i) elements[i] *= factors[i / inner % factors.size()];
    value.data = BytesOf(elements);
    return links_.graph().Add(std::move(value));
  }

  Links links_;
};

}  // namespace

void FuseScale(Graph& graph) {
  ScaleFuser(graph).Run();
}

}  // namespace nrtd::compiler
