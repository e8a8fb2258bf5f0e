// SPDX-License-Identifier: Apache-2.0
#include "compiler/batches.h"

#include <algorithm>

namespace nrtd::compiler {
namespace {

// What a value's first dimension is.
enum class Rows {
  kNone,   // does not depend on the batch: a constant, an input that all requests share
  kApart,  // the batch: a row depends on the same row of the inputs, and on nothing of the others
  kMixed,  // anything else
};

int64_t FirstOf(const Shape& shape) {
  return shape.empty() ? 0 : shape[0];
}

class RowFollower {
 public:
  RowFollower(const Graph& graph, int64_t batch)
      : graph_(graph), batch_(batch), rows_(graph.values.size(), Rows::kNone) {
    for (ValueId id : graph.inputs)
      if (FirstOf(ShapeOf(id)) == batch) rows_[id] = Rows::kApart;
    for (const Node& node : graph.nodes) rows_[node.output] = Follow(node);
  }

  bool Apart(ValueId id) const { return rows_[id] == Rows::kApart; }

 private:
  const Shape& ShapeOf(ValueId id) const { return graph_.at(id).shape; }

  Rows Follow(const Node& node) const {
    const auto is = [&](Rows rows) {
      return [this, rows](ValueId id) { return rows_[id] == rows; };
    };
    const auto& inputs = node.inputs;
    if (std::all_of(inputs.begin(), inputs.end(), is(Rows::kNone))) return Rows::kNone;
    if (std::any_of(inputs.begin(), inputs.end(), is(Rows::kMixed))) return Rows::kMixed;
    if (FirstOf(ShapeOf(node.output)) != batch_) return Rows::kMixed;
    const bool keeps =
        std::visit([&](const auto& operation) { return Keeps(node, operation); }, node.operation);
    return keeps ? Rows::kApart : Rows::kMixed;
  }

  // Do the rows stay apart, if those of some inputs are and the output has as many?

  // By numpy's rules dimensions are counted from the back.
  bool KeepsElements(const Node& node) const {
    const size_t rank = ShapeOf(node.output).size();
    return std::all_of(node.inputs.begin(), node.inputs.end(), [&](ValueId id) {
      return ShapeOf(id).size() == rank ? IsAlike(id) : !Apart(id);
    });
  }

  // Is it the batch, or nothing that has a row for each of its rows and another one for some?
  // Requests may stand in any row.
  bool IsAlike(ValueId id) const {
    const Value& value = graph_.at(id);
    if (Apart(id) || batch_ == 1 || FirstOf(value.shape) != batch_) return true;
    if (!value.IsConstant()) return false;
    const auto row = static_cast<std::ptrdiff_t>(value.data->size()) / batch_;
    return std::equal(value.data->begin() + row, value.data->end(), value.data->begin());
  }
  bool Keeps(const Node& node, const Activation&) const { return KeepsElements(node); }
  bool Keeps(const Node& node, const Binary&) const { return KeepsElements(node); }
  bool Keeps(const Node& node, const Compare&) const { return KeepsElements(node); }
  bool Keeps(const Node& node, const Select&) const { return KeepsElements(node); }
  bool Keeps(const Node& node, const Cast&) const { return KeepsElements(node); }
  bool Keeps(const Node& node, const Softmax& softmax) const {
    return softmax.begin > 0 && KeepsElements(node);
  }

  // The others than the first are weights, for all rows.
  bool OnlyFirst(const Node& node) const {
    return std::none_of(node.inputs.begin() + 1, node.inputs.end(),
                        [&](ValueId id) { return Apart(id); });
  }
  bool Keeps(const Node& node, const Conv&) const { return OnlyFirst(node); }
  bool Keeps(const Node&, const Pool&) const { return true; }
  bool Keeps(const Node& node, const LayerNorm&) const {
    return OnlyFirst(node) && ShapeOf(node.output).size() > 1;
  }
  bool Keeps(const Node&, const Reduce& reduce) const { return FirstOf(reduce.kept) == batch_; }
  // Elements stay where they are, and as many rows are as long.
  bool Keeps(const Node&, const Reshape&) const { return true; }

  bool Keeps(const Node& node, const MatMul& product) const {
    if (product.view_a || product.view_b || product.view_c) return false;
    const Shape& a = ShapeOf(node.inputs[0]);
    const Shape& b = ShapeOf(node.inputs[1]);
    const Shape& c = ShapeOf(node.output);
    // A leading dimension, or the rows of the left matrix.
    const bool a_leads =
        a.size() >= std::max<size_t>(b.size(), 2) && (a.size() > 2 || !product.transpose_a);
    const bool b_leads = b.size() > 2 && b.size() >= a.size();
    if (a_leads ? !IsAlike(node.inputs[0]) : Apart(node.inputs[0])) return false;
    if (b_leads ? !IsAlike(node.inputs[1]) : Apart(node.inputs[1])) return false;
    if (node.inputs.size() < 3) return true;
    const ValueId bias = node.inputs[2];
    return ShapeOf(bias).size() == c.size() ? IsAlike(bias) : !Apart(bias);
  }

  bool Keeps(const Node& node, const Gather& gather) const {
    if (Apart(node.inputs[0])) return gather.axis > 0 && !Apart(node.inputs[1]);
    return gather.axis == 0;
  }

  // Functions of the host look along an axis, or at single elements.
  bool Keeps(const Node& node, const HostCall& call) const {
    if (call.function == "nrt_elementwise") return KeepsElements(node);
    const auto axis = call.attributes.find("axis");
    return OnlyFirst(node) && axis != call.attributes.end() && axis->second != "0";
  }

  bool Keeps(const Node& node, const Rearrange& rearrange) const {
    return std::all_of(rearrange.parts.begin(), rearrange.parts.end(),
                       [&](const Rearrange::Part& part) {
                         const ValueId input = node.inputs[part.input];
                         return Apart(input) ? KeepsPart(node, part) : IsAlike(input);
                       });
  }

  // One dimension of the part goes from row to row on both sides, if any does, and the others stay
  // within one.
  bool KeepsPart(const Node& node, const Rearrange::Part& part) const {
    const auto row = [&](ValueId id) {
      return static_cast<int64_t>(graph_.at(id).Elements()) / batch_;
    };
    const int64_t from_row = row(node.inputs[part.input]);
    const int64_t to_row = row(node.output);
    if (part.from / from_row != part.to / to_row) return false;
    int64_t from_reach = part.from % from_row;
    int64_t to_reach = part.to % to_row;
    bool steps = false;
    for (size_t d = 0; d < part.dims.size(); ++d) {
      if (part.dims[d] == 1) continue;
      if (!steps && part.from_strides[d] == from_row && part.to_strides[d] == to_row) {
        steps = true;
        continue;
      }
      from_reach += (part.dims[d] - 1) * part.from_strides[d];
      to_reach += (part.dims[d] - 1) * part.to_strides[d];
    }
    return from_reach < from_row && to_reach < to_row;
  }

  const Graph& graph_;
  const int64_t batch_;
  std::vector<Rows> rows_;
};

}  // namespace

std::map<std::string, uint32_t> BatchesOf(const Graph& graph) {
  const int64_t batch = FirstOf(graph.at(graph.outputs.front()).shape);
  if (batch < 1 || batch > UINT32_MAX) return {};
  const RowFollower follower(graph, batch);
  std::map<std::string, uint32_t> batches;
  for (ValueId id : graph.outputs) {
    if (!follower.Apart(id)) return {};
    batches[graph.at(id).name] = static_cast<uint32_t>(batch);
  }
  for (ValueId id : graph.inputs)
    if (follower.Apart(id)) batches[graph.at(id).name] = static_cast<uint32_t>(batch);
  return batches;
}

}  // namespace nrtd::compiler
