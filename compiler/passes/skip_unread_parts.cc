// SPDX-License-Identifier: Apache-2.0
//
// Backwards, from who reads a value to who makes it: a value of which everybody reads the same run
// of entries along one dimension need have no others, and what it is made from likewise, as long as
// entries along that dimension do not mix.
#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "compiler/passes/passes.h"

namespace nrtd::compiler {
namespace {

// Entries [first, first + count) along a dimension.
struct Slice {
  size_t axis = 0;
  int64_t first = 0;
  int64_t count = 0;
  bool operator==(const Slice&) const = default;
};

int64_t ProductOf(const Shape& shape, size_t begin, size_t end) {
  int64_t product = 1;
  for (size_t d = begin; d < end; ++d) product *= shape[d];
  return product;
}

// The dimension of the input from which dimension `axis` of the output comes: of a rearrangement
// that takes all elements in another order.
std::optional<std::vector<size_t>> PermutationOf(const Rearrange& rearrange, const Shape& input,
                                                 const Shape& output) {
  if (rearrange.parts.size() != 1) return std::nullopt;
  const Rearrange::Part& part = rearrange.parts[0];
  if (part.dims != output || part.from != 0 || part.to != 0 ||
      part.to_strides != DenseStrides(output) || input.size() != output.size())
    return std::nullopt;
  const Shape dense = DenseStrides(input);
  std::vector<size_t> from(output.size());
  std::vector<bool> taken(input.size(), false);
  for (size_t d = 0; d < output.size(); ++d) {
    size_t at = 0;
    while (at < input.size() && (taken[at] || input[at] != output[d] ||
                                 (output[d] != 1 && dense[at] != part.from_strides[d])))
      ++at;
    if (at == input.size()) return std::nullopt;
    taken[at] = true;
    from[d] = at;
  }
  return from;
}

class Skipper {
 public:
  explicit Skipper(Graph& graph)
      : graph_(graph), wanted_(graph.values.size()), narrow_(graph.values.size(), false) {}

  void Run() {
    for (ValueId output : graph_.outputs) WantAll(output);
    std::vector<Plan> plans(graph_.nodes.size());
    for (size_t i = plans.size(); i-- > 0;) plans[i] = Ask(graph_.nodes[i]);
    std::vector<Node> nodes;
    for (size_t i = 0; i < plans.size(); ++i) {
      Node node = std::move(graph_.nodes[i]);
      if (plans[i].reads && narrow_[node.inputs[0]]) {
        node.operation = Reshape{};
        node.inputs.resize(1);
      } else if (narrow_[node.output]) {
        Narrow(node, plans[i], nodes);
      }
      nodes.push_back(std::move(node));
    }
    graph_.nodes = std::move(nodes);
  }

 private:
  struct Want {
    bool asked = false;
    std::optional<Slice> part;  // nothing: all
  };
  using Parts = std::vector<std::optional<Slice>>;  // of the inputs; nothing: all
  // Made of the graph as it is, before anything changes.
  struct Plan {
    bool reads = false;               // takes a part of its first input and does nothing else
    Parts parts;                      // that are enough for the part of the output that is wanted
    std::vector<size_t> permutation;  // of a rearrangement that becomes narrower
  };

  const Shape& ShapeOf(ValueId id) const { return graph_.at(id).shape; }

  void WantAll(ValueId id) { wanted_[id] = {true, std::nullopt}; }
  void WantPart(ValueId id, const Slice& slice) {
    Want& want = wanted_[id];
    if (!want.asked) {
      want = {true, slice};
    } else if (want.part != slice) {
      want.part.reset();
    }
  }

  Plan Ask(const Node& node) {
    const Want& want = wanted_[node.output];
    Plan plan;
    plan.parts.resize(node.inputs.size());
    if (const auto read = ReadPart(node)) {
      plan.reads = true;
      plan.parts[0] = read;
    } else if (want.part) {
      if (auto known = PartsFor(node, *want.part)) {
        plan.parts = std::move(*known);
        narrow_[node.output] = true;
        if (const auto* rearrange = std::get_if<Rearrange>(&node.operation))
          plan.permutation =
              *PermutationOf(*rearrange, ShapeOf(node.inputs[0]), ShapeOf(node.output));
      }
    }
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (plan.parts[i]) {
        WantPart(node.inputs[i], *plan.parts[i]);
      } else {
        WantAll(node.inputs[i]);
      }
    }
    return plan;
  }

  // What a node that takes a run of entries of its first input, and does nothing else, takes.
  std::optional<Slice> ReadPart(const Node& node) const {
    if (const auto* gather = std::get_if<Gather>(&node.operation)) return IndicesOf(node, *gather);
    const auto* rearrange = std::get_if<Rearrange>(&node.operation);
    if (rearrange == nullptr || rearrange->parts.size() != 1 || node.inputs.size() != 1)
      return std::nullopt;
    const Rearrange::Part& part = rearrange->parts[0];
    const Shape& from = ShapeOf(node.inputs[0]);
    const Shape& to = ShapeOf(node.output);
    if (part.dims != to || part.to != 0 || part.to_strides != DenseStrides(to) ||
        part.from_strides != DenseStrides(from) || from.size() != to.size())
      return std::nullopt;
    std::optional<Slice> slice;
    for (size_t d = 0; d < to.size(); ++d) {
      if (from[d] == to[d]) continue;
      if (slice || to[d] > from[d]) return std::nullopt;
      slice = Slice{d, part.from / part.from_strides[d], to[d]};
    }
    if (!slice || slice->first * part.from_strides[slice->axis] != part.from) return std::nullopt;
    return slice;
  }

  std::optional<Slice> IndicesOf(const Node& node, const Gather& gather) const {
    const Value& indices = graph_.at(node.inputs[1]);
    const int64_t size = ShapeOf(node.inputs[0])[gather.axis];
    if (!indices.IsConstant()) return std::nullopt;
    std::vector<int64_t> entries;
    for (uint64_t i = 0; i < indices.Elements(); ++i) {
      const int64_t index = indices.dtype == DType::kInt32
                                ? int64_t{LoadAt<int32_t>(*indices.data, i * sizeof(int32_t))}
                                : LoadAt<int64_t>(*indices.data, i * sizeof(int64_t));
      entries.push_back(index < 0 ? index + size : index);
      if (entries.back() != entries.front() + static_cast<int64_t>(i)) return std::nullopt;
    }
    const auto count = static_cast<int64_t>(entries.size());
    if (count == 0 || count >= size || entries.front() < 0 || entries.back() >= size)
      return std::nullopt;
    return Slice{gather.axis, entries.front(), count};
  }

  // The part of an input that numpy's rules repeat to `output`.
  std::optional<Slice> Repeated(ValueId input, const Shape& output, Slice slice) const {
    const Shape& shape = ShapeOf(input);
    const size_t missing = output.size() - shape.size();
    if (slice.axis < missing || shape[slice.axis - missing] == 1) return std::nullopt;
    slice.axis -= missing;
    return slice;
  }

  // Of which parts of its inputs the node makes a part of its output; nothing where entries mix, or
  // it is not worth it.
  std::optional<Parts> PartsFor(const Node& node, const Slice& slice) const {
    return std::visit([&](const auto& operation) { return PartsOf(operation, node, slice); },
                      node.operation);
  }

  template <typename Other>
  std::optional<Parts> PartsOf(const Other&, const Node&, const Slice&) const {
    return std::nullopt;
  }
  std::optional<Parts> PartsOf(const Activation&, const Node&, const Slice& slice) const {
    return Parts{slice};
  }
  std::optional<Parts> PartsOf(const Cast&, const Node&, const Slice& slice) const {
    return Parts{slice};
  }
  std::optional<Parts> PartsOf(const Binary&, const Node& node, const Slice& slice) const {
    return AllRepeated(node, 0, slice);
  }
  std::optional<Parts> PartsOf(const Compare&, const Node& node, const Slice& slice) const {
    return AllRepeated(node, 0, slice);
  }
  std::optional<Parts> PartsOf(const Select&, const Node& node, const Slice& slice) const {
    return AllRepeated(node, 0, slice);
  }
  std::optional<Parts> PartsOf(const LayerNorm&, const Node& node, const Slice& slice) const {
    if (slice.axis + 1 == ShapeOf(node.output).size()) return std::nullopt;
    Parts parts(node.inputs.size());
    parts[0] = slice;
    return parts;
  }
  std::optional<Parts> PartsOf(const Softmax& softmax, const Node& node, const Slice& slice) const {
    if (slice.axis >= softmax.begin && slice.axis < softmax.end) return std::nullopt;
    return AllRepeated(node, 0, slice);
  }
  std::optional<Parts> PartsOf(const MatMul& product, const Node& node, const Slice& slice) const {
    const Shape& a = ShapeOf(node.inputs[0]);
    const Shape& b = ShapeOf(node.inputs[1]);
    const Shape& c = ShapeOf(node.output);
    if (product.view_a || product.view_b || product.view_c || a.size() < 2 || b.size() < 2 ||
        c.size() != std::max(a.size(), b.size()) || slice.axis + 1 == c.size())
      return std::nullopt;
    Parts parts = AllRepeated(node, 2, slice);
    if (slice.axis + 2 == c.size()) {
      parts[0] = slice;
      parts[0]->axis = a.size() - (product.transpose_a ? 1 : 2);
    } else {
      parts[0] = Repeated(node.inputs[0], c, slice);
      parts[1] = Repeated(node.inputs[1], c, slice);
    }
    return parts;
  }
  // Where a dimension of the same size has as many elements before and behind it.
  std::optional<Parts> PartsOf(const Reshape&, const Node& node, const Slice& slice) const {
    const Shape& from = ShapeOf(node.inputs[0]);
    const Shape& to = ShapeOf(node.output);
    for (size_t d = 0; d < from.size(); ++d) {
      if (from[d] == to[slice.axis] && ProductOf(from, 0, d) == ProductOf(to, 0, slice.axis))
        return Parts{Slice{d, slice.first, slice.count}};
    }
    return std::nullopt;
  }
  std::optional<Parts> PartsOf(const Rearrange& rearrange, const Node& node,
                               const Slice& slice) const {
    if (node.inputs.size() != 1) return std::nullopt;
    const auto from = PermutationOf(rearrange, ShapeOf(node.inputs[0]), ShapeOf(node.output));
    if (!from) return std::nullopt;
    return Parts{Slice{(*from)[slice.axis], slice.first, slice.count}};
  }

  Parts AllRepeated(const Node& node, size_t begin, const Slice& slice) const {
    Parts parts(node.inputs.size());
    for (size_t i = begin; i < parts.size(); ++i)
      parts[i] = Repeated(node.inputs[i], ShapeOf(node.output), slice);
    return parts;
  }

  // The nodes that make its inputs have been rewritten.
  void Narrow(Node& node, const Plan& plan, std::vector<Node>& nodes) {
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (plan.parts[i] && !narrow_[node.inputs[i]])
        node.inputs[i] = Take(node.inputs[i], *plan.parts[i], node.name, nodes);
    }
    const Slice& slice = *wanted_[node.output].part;
    graph_.values[node.output].shape[slice.axis] = slice.count;
    if (auto* rearrange = std::get_if<Rearrange>(&node.operation)) {
      Rearrange::Part& part = rearrange->parts[0];
      const Shape dense = DenseStrides(ShapeOf(node.inputs[0]));
      part.dims = ShapeOf(node.output);
      part.to_strides = DenseStrides(part.dims);
      for (size_t d = 0; d < part.dims.size(); ++d)
        part.from_strides[d] = dense[plan.permutation[d]];
    }
  }

  // The part of a value that is needed whole as well, taken once for all who want it.
  ValueId Take(ValueId from, const Slice& slice, const std::string& origin,
               std::vector<Node>& nodes) {
    const auto [place, fresh] =
        taken_.try_emplace({from, slice.axis, slice.first, slice.count}, ValueId{0});
    if (!fresh) return place->second;
    Value value;
    value.name = graph_.at(from).name + " in part";
    value.dtype = graph_.at(from).dtype;
    value.shape = ShapeOf(from);
    value.shape[slice.axis] = slice.count;
    const Shape strides = DenseStrides(ShapeOf(from));
    const Rearrange::Part part{0,       value.shape, slice.first * strides[slice.axis],
                               strides, 0,           DenseStrides(value.shape)};
    place->second = graph_.Add(std::move(value));
    nodes.push_back({origin, Rearrange{{part}}, {from}, place->second});
    narrow_.push_back(false);
    return place->second;
  }

  Graph& graph_;
  std::vector<Want> wanted_;
  std::vector<bool> narrow_;
  std::map<std::tuple<ValueId, size_t, int64_t, int64_t>, ValueId> taken_;
};

}  // namespace

void SkipUnreadParts(Graph& graph) {
  Skipper(graph).Run();
  RemoveDeadCode(graph);
}

}  // namespace nrtd::compiler
