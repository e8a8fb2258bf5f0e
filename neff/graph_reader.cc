// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>
#include <utility>

#include "base/sizes.h"
#include "neff/graph.h"
#include "neff/json_fields.h"

namespace nrtd::neff {
namespace {

class GraphReader {
 public:
  GraphReader(const Field& root, const Limits& limits) : root_(root), limits_(limits) {}

  Result<Graph> Read() {
    NRTD_ASSIGN(const Field nodes, root_.Get("nodes"));
    NRTD_ASSIGN(const std::vector<Field> items, nodes.Items(limits_.max_nodes));
    NRTD_TRY(ReadRowPointers(items.size()));
    NRTD_TRY(ReadTensors());
    for (const Field& item : items) NRTD_TRY(ReadNode(item));
    NRTD_TRY(ReadInputs());
    NRTD_TRY(ReadOutputs());
    return std::move(graph_);
  }

 private:
  // node_row_ptr[n] is the first tensor of node n; one more entry than nodes.
  Result<void> ReadRowPointers(size_t node_count) {
    NRTD_ASSIGN(const Field field, root_.Get("node_row_ptr"));
    NRTD_ASSIGN(rows_, field.Uint32List(limits_.max_nodes + 1));
    if (rows_.size() != node_count + 1) {
      return field.Invalid("{} items for {} nodes, expected {}", rows_.size(), node_count,
                           node_count + 1);
    }
    if (rows_.front() != 0 || !std::ranges::is_sorted(rows_))
      return field.Invalid("does not rise from 0");
    if (rows_.back() > limits_.max_tensors) {
      return field.Invalid("{} tensors, at most {} allowed", rows_.back(), limits_.max_tensors);
    }
    graph_.tensors.resize(rows_.back());
    return {};
  }

  Result<void> ReadTensors() {
    NRTD_ASSIGN(const Field attrs, root_.Get("attrs"));
    NRTD_TRY(ForEachTensor(attrs, "shape", "list_shape", &GraphReader::ReadShape));
    NRTD_TRY(ForEachTensor(attrs, "dltype", "list_str", &GraphReader::ReadType));
    NRTD_TRY(ForEachTensor(attrs, "storage_id", "list_int", &GraphReader::ReadStorage));
    for (size_t i = 0; i < graph_.tensors.size(); ++i) {
      Tensor& tensor = graph_.tensors[i];
      const auto count = ElementCount(tensor.shape);
      const auto bytes = count ? CheckedMultiply(*count, DTypeSize(tensor.dtype)) : std::nullopt;
      if (!bytes) {
        return attrs.Invalid("tensor {} of shape {} overflows 64 bits", i, ShapeText(tensor.shape));
      }
      tensor.bytes = *bytes;
    }
    return {};
  }

  // attrs.<key> is [tag, [an item a tensor]].
  Result<void> ForEachTensor(const Field& attrs, std::string_view key, std::string_view tag,
                             Result<void> (*read)(const GraphReader&, const Field&, Tensor&)) {
    NRTD_ASSIGN(const Field pair, attrs.Get(key));
    NRTD_ASSIGN(const std::vector<Field> parts, pair.Items(2));
    if (parts.size() != 2) return pair.Invalid("expected [\"{}\", [...]]", tag);
    NRTD_ASSIGN(const std::string found, parts[0].Text());
    if (found != tag) return parts[0].Invalid("expected \"{}\", found \"{}\"", tag, found);
    NRTD_ASSIGN(const std::vector<Field> items, parts[1].Items(limits_.max_tensors));
    if (items.size() != graph_.tensors.size()) {
      return parts[1].Invalid("{} items for the {} tensors of node_row_ptr", items.size(),
                              graph_.tensors.size());
    }
    for (size_t i = 0; i < items.size(); ++i) NRTD_TRY(read(*this, items[i], graph_.tensors[i]));
    return {};
  }

  static Result<Shape> ShapeOf(const GraphReader& reader, const Field& field) {
    NRTD_ASSIGN(const std::vector<Field> items, field.Items(reader.limits_.max_dimensions));
    Shape shape;
    for (const Field& item : items) {
      NRTD_ASSIGN(const int64_t dimension, item.Int());
      if (dimension < 0) return item.Invalid("a dimension of {}; sizes must be known", dimension);
      shape.push_back(dimension);
    }
    return shape;
  }
  static Result<void> ReadShape(const GraphReader& reader, const Field& item, Tensor& tensor) {
    NRTD_ASSIGN(tensor.shape, ShapeOf(reader, item));
    return {};
  }
  static Result<DType> TypeOf(const Field& field) {
    NRTD_ASSIGN(const std::string name, field.Text());
    const auto dtype = DTypeFromName(name);
    if (!dtype) return field.Invalid("the type \"{}\" is not known", name);
    return *dtype;
  }
  static Result<void> ReadType(const GraphReader&, const Field& item, Tensor& tensor) {
    NRTD_ASSIGN(tensor.dtype, TypeOf(item));
    return {};
  }
  static Result<void> ReadStorage(const GraphReader&, const Field& item, Tensor& tensor) {
    NRTD_ASSIGN(tensor.storage_id, item.Uint32());
    return {};
  }

  Result<void> ReadNode(const Field& item) {
    const auto index = static_cast<uint32_t>(graph_.nodes.size());
    Node node;
    NRTD_ASSIGN(node.name, TextOr(item, "name", ""));
    NRTD_ASSIGN(const Field op_field, item.Get("op"));
    NRTD_ASSIGN(const std::string op, op_field.Text());
    NRTD_TRY(ReadNodeOutputs(item, index, node));
    if (op == "null") {
      node.kind = NodeKind::kInput;
      NRTD_ASSIGN(node.is_param, FlagOr(item, "is_param", false));
      if (node.outputs.size() != 1)
        return item.Invalid("an input node with {} outputs, expected 1", node.outputs.size());
    } else if (op == "tvm_op") {
      NRTD_TRY(ReadNodeInputs(item, index, node));
      NRTD_TRY(ReadAttributes(item, node));
    } else {
      return op_field.Invalid("\"{}\" is neither \"null\" nor \"tvm_op\"", op);
    }
    graph_.nodes.push_back(std::move(node));
    return {};
  }

  Result<void> ReadNodeOutputs(const Field& item, uint32_t index, Node& node) {
    const uint32_t count = rows_[index + 1] - rows_[index];
    if (count > limits_.max_node_ports) {
      return item.Invalid("{} outputs, at most {} allowed", count, limits_.max_node_ports);
    }
    std::vector<std::string> names;
    NRTD_ASSIGN(const std::optional<Field> field, item.Find("output_names"));
    if (field) {
      NRTD_ASSIGN(names, field->TextList(limits_.max_node_ports));
      if (names.size() != count) {
        return field->Invalid("{} names for the {} outputs of node_row_ptr", names.size(), count);
      }
    }
    for (uint32_t i = 0; i < count; ++i) {
      Tensor& tensor = graph_.tensors[rows_[index] + i];
      tensor.node = index;
      if (field) {
        tensor.name = names[i];
      } else {
        tensor.name = i == 0 ? node.name : fmt::format("{}:{}", node.name, i);
      }
      node.outputs.push_back(rows_[index] + i);
    }
    return {};
  }

  Result<void> ReadNodeInputs(const Field& item, uint32_t index, Node& node) {
    NRTD_ASSIGN(const Field field, item.Get("inputs"));
    NRTD_ASSIGN(const std::vector<Field> inputs, field.Items(limits_.max_node_ports));
    for (const Field& input : inputs) {
      NRTD_ASSIGN(const uint32_t tensor, TensorOf(input, index));
      node.inputs.push_back(tensor);
    }
    return {};
  }

  // [node, output, version] of a node before `end`.
  Result<uint32_t> TensorOf(const Field& entry, size_t end) {
    NRTD_ASSIGN(const std::vector<uint32_t> parts, entry.Uint32List(3));
    if (parts.size() < 2) return entry.Invalid("expected [node, output, version]");
    const uint32_t node = parts[0];
    if (node >= end) return entry.Invalid("node {} does not stand before node {}", node, end);
    if (parts[1] >= rows_[node + 1] - rows_[node])
      return entry.Invalid("node {} has no output {}", node, parts[1]);
    return rows_[node] + parts[1];
  }

  Result<void> ReadAttributes(const Field& item, Node& node) {
    NRTD_ASSIGN(const Field attrs, item.Get("attrs"));
    NRTD_ASSIGN(const std::vector<Field> members, attrs.Members(limits_.max_node_ports));
    for (const Field& member : members) {
      if (member.key() == "func_name") {
        NRTD_ASSIGN(node.func_name, member.Text());
      } else if (member.key() == "kelf") {
        NRTD_ASSIGN(node.kelf, member.Text());
      } else if (member.key() == "num_inputs") {
        NRTD_TRY(CheckCount(member, node.inputs.size()));
      } else if (member.key() == "num_outputs") {
        NRTD_TRY(CheckCount(member, node.outputs.size()));
      } else if (const auto* text = member.json().get_ptr<const std::string*>(); text != nullptr) {
        node.attrs.emplace(member.key(), *text);
      } else {
        NRTD_ASSIGN(std::string json, DumpJson(member.json(), kGraphFile, -1));
        node.attrs.emplace(member.key(), std::move(json));
      }
    }
    if (node.func_name.empty()) return attrs.Invalid("has no \"func_name\"");
    node.kind = node.func_name == kKelfFunction ? NodeKind::kKelf : NodeKind::kHostFunction;
    if (node.kind == NodeKind::kKelf && node.kelf.empty()) {
      return attrs.Invalid("a node that runs \"{}\" has no \"kelf\"", kKelfFunction);
    }
    return {};
  }

  static Result<void> CheckCount(const Field& field, size_t actual) {
    NRTD_ASSIGN(const uint64_t declared, field.UintOrDigits());
    if (declared != actual) return field.Invalid("{}, but the node has {}", declared, actual);
    return {};
  }

  Result<void> ReadInputs() {
    NRTD_ASSIGN(const Field field, root_.Get("arg_nodes"));
    NRTD_ASSIGN(const std::vector<uint32_t> arg_nodes, field.Uint32List(limits_.max_nodes));
    NRTD_TRY(ReadSignature());
    std::set<uint32_t> seen;
    std::set<std::string_view> names;
    for (const uint32_t node : arg_nodes) {
      if (node >= graph_.nodes.size() || graph_.nodes[node].kind != NodeKind::kInput)
        return field.Invalid("node {} is not an input node", node);
      if (!seen.insert(node).second) return field.Invalid("node {} stands there twice", node);
      if (graph_.nodes[node].is_param) continue;
      const auto name = signature_.find(node);
      graph_.inputs.push_back(
          {name != signature_.end() ? name->second : graph_.nodes[node].name, rows_[node]});
    }
    if (graph_.inputs.size() > limits_.max_node_ports) {
      return field.Invalid("{} inputs of the network, at most {} allowed", graph_.inputs.size(),
                           limits_.max_node_ports);
    }
    for (const Port& input : graph_.inputs) {
      if (!names.insert(input.name).second)
        return field.Invalid("two inputs are named \"{}\"", input.name);
    }
    for (uint32_t node = 0; node < graph_.nodes.size(); ++node) {
      if (graph_.nodes[node].kind == NodeKind::kInput && !seen.contains(node))
        return field.Invalid("input node {} is missing", node);
    }
    return {};
  }

  // metadata.signatures.default.inputs, each level of which may be missing: the names that clients
  // use, by input node.
  Result<void> ReadSignature() {
    NRTD_ASSIGN(const std::optional<Field> metadata, root_.Find("metadata"));
    if (!metadata) return {};
    NRTD_ASSIGN(const std::optional<Field> signatures, metadata->Find("signatures"));
    if (!signatures) return {};
    NRTD_ASSIGN(const std::optional<Field> signature, signatures->Find("default"));
    if (!signature) return {};
    NRTD_ASSIGN(const std::optional<Field> inputs, signature->Find("inputs"));
    if (!inputs) return {};
    NRTD_ASSIGN(const std::vector<Field> members, inputs->Members(limits_.max_nodes));
    for (const Field& member : members) NRTD_TRY(ReadSignatureInput(member));
    return {};
  }

  Result<void> ReadSignatureInput(const Field& member) {
    NRTD_ASSIGN(const Field id_field, member.Get("id"));
    NRTD_ASSIGN(const uint32_t node, id_field.Uint32());
    if (node >= graph_.nodes.size() || graph_.nodes[node].kind != NodeKind::kInput)
      return id_field.Invalid("node {} is not an input node", node);
    if (!signature_.emplace(node, member.key()).second)
      return id_field.Invalid("node {} has two names", node);
    const Tensor& tensor = graph_.tensors[rows_[node]];
    NRTD_ASSIGN(const std::optional<Field> shape_field, member.Find("shape"));
    if (shape_field) {
      NRTD_ASSIGN(const Shape shape, ShapeOf(*this, *shape_field));
      if (shape != tensor.shape) {
        return shape_field->Invalid("{}, but attrs.shape says {}", ShapeText(shape),
                                    ShapeText(tensor.shape));
      }
    }
    NRTD_ASSIGN(const std::optional<Field> type_field, member.Find("dtype"));
    if (type_field) {
      NRTD_ASSIGN(const DType dtype, TypeOf(*type_field));
      if (dtype != tensor.dtype) {
        return type_field->Invalid("{}, but attrs.dltype says {}", DTypeName(dtype),
                                   DTypeName(tensor.dtype));
      }
    }
    return {};
  }

  Result<void> ReadOutputs() {
    NRTD_ASSIGN(const Field field, root_.Get("heads"));
    NRTD_ASSIGN(const std::vector<Field> heads, field.Items(limits_.max_node_ports));
    if (heads.empty()) return field.Invalid("a network without outputs");
    for (const Field& head : heads) {
      NRTD_ASSIGN(const uint32_t tensor, TensorOf(head, graph_.nodes.size()));
      graph_.outputs.push_back({graph_.tensors[tensor].name, tensor});
    }
    return {};
  }

  const Field& root_;
  const Limits& limits_;
  Graph graph_;
  std::vector<uint32_t> rows_;
  std::map<uint32_t, std::string> signature_;
};

}  // namespace

bool Graph::IsUsed(uint32_t tensor) const {
  const auto reads = [&](const Node& node) {
    return std::ranges::find(node.inputs, tensor) != node.inputs.end();
  };
  const auto leaves = [&](const Port& port) { return port.tensor == tensor; };
  return std::ranges::any_of(nodes, reads) || std::ranges::any_of(outputs, leaves);
}

Result<Graph> ParseGraph(ByteSpan json, const Limits& limits) {
  NRTD_ASSIGN(const Json document, ParseJson(json, kGraphFile, limits));
  const Field root(kGraphFile, document);
  return GraphReader(root, limits).Read();
}

}  // namespace nrtd::neff
