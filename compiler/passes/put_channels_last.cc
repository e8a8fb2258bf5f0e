// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "compiler/passes/passes.h"

namespace nrtd::compiler {
namespace {

// Below this the transposes at both ends cost more than they save.
constexpr uint64_t kLeastMacs = 16'000'000;

uint64_t ImageMacs(const Graph& graph) {
  uint64_t macs = 0;
  for (const Node& node : graph.nodes) {
    if (!std::holds_alternative<Conv>(node.operation)) continue;
    const Value& weights = graph.at(node.inputs[1]);
    if (weights.shape.size() != 4) continue;
    macs += graph.at(node.output).Elements() * (weights.Elements() / weights.shape[0]);
  }
  return macs;
}

Shape LastOf(const Shape& shape) {
  return {shape[0], shape[2], shape[3], shape[1]};
}

// The element that was `at` in dense images of `shape`.
int64_t OffsetInLast(int64_t at, const Shape& shape) {
  const Shape strides = DenseStrides(shape);
  const Shape last = DenseStrides(LastOf(shape));
  const int64_t n = at / strides[0];
  const int64_t c = at % strides[0] / strides[1];
  const int64_t h = at % strides[1] / strides[2];
  const int64_t w = at % strides[2];
  return n * last[0] + h * last[1] + w * last[2] + c;
}

class ChannelsLast {
 public:
  explicit ChannelsLast(Graph& graph) : graph_(graph) {}

  void Run() {
    std::vector<Node> nodes = std::exchange(graph_.nodes, {});
    for (Node& node : nodes) {
      if (!std::visit([&](auto& operation) { return Convert(node, operation); }, node.operation))
        Keep(std::move(node));
    }
    for (ValueId output : graph_.outputs) RequirePlain(output);
  }

 private:
  const Shape& ShapeOf(ValueId id) const { return graph_.at(id).shape; }
  bool IsImage(ValueId id) const { return ShapeOf(id).size() == 4; }
  bool IsLast(ValueId id) const { return last_.contains(id); }

  ValueId NewLast(ValueId id) {
    const Value& value = graph_.at(id);
    Value last{value.name + ".nhwc", value.dtype, LastOf(value.shape), std::nullopt};
    last_[id] = graph_.Add(std::move(last));
    return last_[id];
  }

  // The value with its channels last, transposed now if it is not there.
  ValueId Last(ValueId id) {
    if (IsLast(id)) return last_[id];
    const Shape shape = ShapeOf(id);
    const Shape strides = DenseStrides(shape);
    const ValueId last = NewLast(id);
    plain_.insert(id);
    const Shape& to = ShapeOf(last);
    AppendTranspose(
        id, last,
        {0, to, 0, {strides[0], strides[2], strides[3], strides[1]}, 0, DenseStrides(to)});
    return last;
  }

  // The value as it was, for those that want it so.
  void RequirePlain(ValueId id) {
    if (!IsLast(id) || !plain_.insert(id).second) return;
    const ValueId last = last_[id];
    const Shape shape = ShapeOf(id);
    const Shape strides = DenseStrides(ShapeOf(last));
    AppendTranspose(
        last, id,
        {0, shape, 0, {strides[0], strides[3], strides[1], strides[2]}, 0, DenseStrides(shape)});
  }

  void AppendTranspose(ValueId from, ValueId to, Rearrange::Part part) {
    graph_.nodes.push_back(
        {"transpose '" + graph_.at(from).name + "'", Rearrange{{std::move(part)}}, {from}, to});
  }

  void Keep(Node node) {
    for (ValueId input : node.inputs) RequirePlain(input);
    graph_.nodes.push_back(std::move(node));
  }

  void Append(Node& node) { graph_.nodes.push_back(std::move(node)); }

  bool Convert(Node& node, Conv& conv) {
    if (!IsImage(node.output) || !graph_.at(node.inputs[1]).IsConstant()) return false;
    conv.channels_last = true;
    node.inputs[0] = Last(node.inputs[0]);
    for (size_t i = 1; i < node.inputs.size(); ++i) RequirePlain(node.inputs[i]);
    node.output = NewLast(node.output);
    Append(node);
    return true;
  }

  bool Convert(Node& node, Pool& pool) {
    if (!IsLast(node.inputs[0])) return false;
    pool.channels_last = true;
    node.inputs[0] = last_[node.inputs[0]];
    node.output = NewLast(node.output);
    Append(node);
    return true;
  }

  bool Convert(Node& node, Activation&) {
    if (!IsLast(node.inputs[0])) return false;
    node.inputs[0] = last_[node.inputs[0]];
    node.output = NewLast(node.output);
    Append(node);
    return true;
  }

  bool Convert(Node& node, Binary&) {
    const Shape& full = ShapeOf(node.output);
    const auto is_whole = [&](ValueId id) { return IsLast(id) && ShapeOf(id) == full; };
    if (full.size() != 4 || std::none_of(node.inputs.begin(), node.inputs.end(), is_whole))
      return false;
    for (ValueId id : node.inputs) {
      if (!is_whole(id) && !IsPerChannel(id)) return false;
    }
    for (ValueId& id : node.inputs) id = is_whole(id) ? last_[id] : PerChannel(id);
    node.output = NewLast(node.output);
    Append(node);
    return true;
  }

  // Over height and width: what is left has the same order either way.
  bool Convert(Node& node, Reduce& reduce) {
    if (!IsLast(node.inputs[0]) || reduce.kept[2] != 1 || reduce.kept[3] != 1) return false;
    if (reduce.kept[1] == 1 && ShapeOf(node.inputs[0])[1] != 1) return false;
    node.inputs[0] = last_[node.inputs[0]];
    reduce.kept = LastOf(reduce.kept);
    Append(node);
    return true;
  }

  // Blocks put side by side, and padding.
  bool Convert(Node& node, Rearrange& rearrange) {
    const Shape full = ShapeOf(node.output);
    if (full.size() != 4 || std::none_of(node.inputs.begin(), node.inputs.end(),
                                         [&](ValueId id) { return IsLast(id); }))
      return false;
    for (const Rearrange::Part& part : rearrange.parts) {
      const ValueId input = node.inputs[part.input];
      const bool is_fill = graph_.at(input).Elements() == 1;
      if (part.dims.size() != 4 || part.to_strides != DenseStrides(full)) return false;
      if (!is_fill && !IsBlock(part, input)) return false;
    }
    for (Rearrange::Part& part : rearrange.parts) {
      const Shape shape = ShapeOf(node.inputs[part.input]);
      part.dims = LastOf(part.dims);
      part.to = OffsetInLast(part.to, full);
      part.to_strides = DenseStrides(LastOf(full));
      if (ElementCount(shape) == 1U) continue;
      part.from = OffsetInLast(part.from, shape);
      part.from_strides = DenseStrides(LastOf(shape));
    }
    for (ValueId& id : node.inputs) {
      if (graph_.at(id).Elements() != 1)
        id = Last(id);
      else
        RequirePlain(id);
    }
    node.output = NewLast(node.output);
    Append(node);
    return true;
  }

  // A block of the images, in their own order. Strides alone do not tell: those of [N,C,1,1] are
  // the same when it is transposed.
  bool IsBlock(const Rearrange::Part& part, ValueId input) const {
    if (!IsImage(input) || part.from_strides != DenseStrides(ShapeOf(input))) return false;
    const Shape& shape = ShapeOf(input);
    for (size_t d = 0; d < shape.size(); ++d)
      if (part.dims[d] > shape[d]) return false;
    return true;
  }

  template <typename Other>
  bool Convert(Node&, Other&) {
    return false;
  }

  // One number a channel, or one for all: [C,1,1], [N,C,1,1], [1].
  bool IsPerChannel(ValueId id) const {
    const Shape& shape = ShapeOf(id);
    if (graph_.at(id).Elements() == 1) return true;
    return shape.size() >= 3 && shape[shape.size() - 1] == 1 && shape[shape.size() - 2] == 1;
  }
  ValueId PerChannel(ValueId id) {
    RequirePlain(id);
    if (graph_.at(id).Elements() == 1) return id;
    Value value = graph_.at(id);
    Shape padded(4 - value.shape.size(), 1);
    padded.insert(padded.end(), value.shape.begin(), value.shape.end());
    value.shape = LastOf(padded);
    value.name += ".nhwc";
    const bool is_constant = value.IsConstant();
    const ValueId last = graph_.Add(std::move(value));
    if (!is_constant)
      graph_.nodes.push_back({"view '" + graph_.at(id).name + "'", Reshape{}, {id}, last});
    return last;
  }

  Graph& graph_;
  std::map<ValueId, ValueId> last_;  // value -> the same with its channels last
  std::set<ValueId> plain_;          // of those, what is there as it was, too
};

}  // namespace

void PutChannelsLast(Graph& graph) {
  if (ImageMacs(graph) >= kLeastMacs) ChannelsLast(graph).Run();
}

}  // namespace nrtd::compiler
