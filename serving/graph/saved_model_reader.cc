// SPDX-License-Identifier: Apache-2.0
#include "serving/graph/saved_model_reader.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <functional>
#include <optional>
#include <unordered_map>

#include <fcntl.h>
#include <fmt/ranges.h>
#include <google/protobuf/io/zero_copy_stream_impl.h>

#include "base/unique_fd.h"
#include "serving/graph/neuron_op_reader.h"
#include "serving/graph/node_attributes.h"
#include "serving/tensor/tensor_proto.h"

namespace nrtd::serving {
namespace {

namespace tf = ::tensorflow;

// "node", "node:1".
struct TensorName {
  std::string node;
  uint32_t output = 0;
};
Result<TensorName> ParseTensorName(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return TensorName{text, 0};
  TensorName name{text.substr(0, colon), 0};
  const char* const end = text.data() + text.size();
  const auto [parsed, error] = std::from_chars(text.data() + colon + 1, end, name.output);
  if (error != std::errc() || parsed != end)
    return Fail(Nerr::kInvalid, "'{}' names no tensor", text);
  return name;
}

Result<Operation> PlaceholderOf(tf::NodeDef& node) {
  const Attributes attributes(node);
  tf::TensorShapeProto unknown;
  unknown.set_unknown_rank(true);
  const tf::AttrValue* const type = attributes.Find("dtype");
  const tf::AttrValue* const shape = attributes.Find("shape");
  NRTD_ASSIGN(TensorSpec spec, SpecOf(type == nullptr ? tf::DT_INVALID : type->type(),
                                      shape == nullptr ? unknown : shape->shape()));
  return op::Placeholder{std::move(spec)};
}

// Makes an operation of a node; the number of data inputs is checked by the caller.
struct Maker {
  int min_inputs;
  int max_inputs;
  std::function<Result<Operation>(tf::NodeDef&)> make;
};
constexpr int kAny = 1 << 20;

template <typename T>
std::function<Result<Operation>(tf::NodeDef&)> Plain() {
  return [](tf::NodeDef&) -> Result<Operation> { return T{}; };
}

const std::unordered_map<std::string, Maker>& Makers() {
  static const auto* const makers = new std::unordered_map<std::string, Maker>{
      {"Placeholder", {0, 0, PlaceholderOf}},
      {"PlaceholderWithDefault", {1, 1, PlaceholderOf}},
      {"Const",
       {0, 0,
        [](tf::NodeDef& node) -> Result<Operation> {
          const auto value = node.mutable_attr()->find("value");
          if (value == node.mutable_attr()->end())
            return Fail(Nerr::kInvalid, "attribute 'value' is missing");
          NRTD_ASSIGN(Tensor tensor, TakeTensor(*value->second.mutable_tensor()));
          return op::Const{std::move(tensor)};
        }}},
      {"Identity", {1, 1, Plain<op::Identity>()}},
      {"IdentityN", {1, kAny, Plain<op::Identity>()}},
      {"StopGradient", {1, 1, Plain<op::Identity>()}},
      {"Snapshot", {1, 1, Plain<op::Identity>()}},
      {"Cast",
       {1, 1,
        [](tf::NodeDef& node) -> Result<Operation> {
          NRTD_ASSIGN(const DType to, Attributes(node).Type("DstT"));
          return op::Cast{to};
        }}},
      {"Reshape", {2, 2, Plain<op::Reshape>()}},
      {"Softmax", {1, 1, Plain<op::Softmax>()}},
      {"ArgMax",
       {2, 2,
        [](tf::NodeDef& node) -> Result<Operation> {
          NRTD_ASSIGN(const DType output, Attributes(node).TypeOr("output_type", DType::kInt64));
          return op::ArgMax{output};
        }}},
      {"Squeeze",
       {1, 1,
        [](tf::NodeDef& node) -> Result<Operation> {
          const auto& axes = Attributes(node).List("squeeze_dims").i();
          return op::Squeeze{{axes.begin(), axes.end()}};
        }}},
      {"ExpandDims", {2, 2, Plain<op::ExpandDims>()}},
      {"Pack",
       {1, kAny,
        [](tf::NodeDef& node) -> Result<Operation> {
          return op::Pack{Attributes(node).Int("axis", 0)};
        }}},
      {"StridedSlice",
       {4, 4,
        [](tf::NodeDef& node) -> Result<Operation> {
          const Attributes of(node);
          return op::StridedSlice{of.Int("begin_mask", 0), of.Int("end_mask", 0),
                                  of.Int("ellipsis_mask", 0), of.Int("new_axis_mask", 0),
                                  of.Int("shrink_axis_mask", 0)};
        }}},
      {"Shape",
       {1, 1,
        [](tf::NodeDef& node) -> Result<Operation> {
          NRTD_ASSIGN(const DType output, Attributes(node).TypeOr("out_type", DType::kInt32));
          return op::ShapeOf{output};
        }}},
      {"ConcatV2", {2, kAny, Plain<op::Concat>()}},
      {"Transpose", {2, 2, Plain<op::Transpose>()}},
      {"NeuronOp", {0, kAny, NeuronOf}},
  };
  return *makers;
}

uint32_t OutputsOf(const Node& node) {
  if (const auto* neuron = std::get_if<op::Neuron>(&node.operation))
    return static_cast<uint32_t>(neuron->outputs.size());
  if (std::holds_alternative<op::Identity>(node.operation))
    return static_cast<uint32_t>(node.inputs.size());
  return 1;
}

// Adds the nodes that signatures need, inputs first.
class Builder {
 public:
  explicit Builder(tf::GraphDef& definition) {
    for (tf::NodeDef& node : *definition.mutable_node()) by_name_.emplace(node.name(), &node);
  }

  Result<Port> Add(const std::string& tensor) {
    NRTD_ASSIGN(const TensorName name, ParseTensorName(tensor));
    NRTD_TRY(AddNode(name.node));
    const uint32_t index = added_.at(name.node).index;
    if (name.output >= OutputsOf(graph_.nodes[index]) && problems_.empty())
      return Fail(Nerr::kInvalid, "'{}' is no output of its node", tensor);
    return Port{index, name.output};
  }
  // All nodes that cannot be executed, in one error.
  Result<Graph> Finish() {
    if (problems_.empty()) return std::move(graph_);
    return Fail(Nerr::kInvalid, "{}", AsIs(fmt::format("{}", fmt::join(problems_, "; "))));
  }
  Graph& graph() { return graph_; }

 private:
  struct Added {
    bool done = false;  // false: its inputs are being added
    uint32_t index = 0;
  };
  struct Visit {
    tf::NodeDef* node;
    int next_input = 0;
  };

  // Without recursion, since a graph may be deep.
  Result<void> AddNode(const std::string& name) {
    if (added_.contains(name)) return {};
    std::vector<Visit> stack;
    NRTD_TRY(Push(name, stack));
    while (!stack.empty()) {
      Visit& visit = stack.back();
      if (visit.next_input == visit.node->input_size()) {
        NRTD_TRY(Complete(*visit.node));
        stack.pop_back();
        continue;
      }
      const std::string& input = visit.node->input(visit.next_input++);
      if (input.starts_with('^')) continue;
      NRTD_ASSIGN(const TensorName tensor, ParseTensorName(input));
      const auto found = added_.find(tensor.node);
      if (found == added_.end()) {
        NRTD_TRY(Push(tensor.node, stack));
      } else if (!found->second.done) {
        return Fail(Nerr::kInvalid, "node '{}' needs its own output", tensor.node);
      }
    }
    return {};
  }

  Result<void> Push(const std::string& name, std::vector<Visit>& stack) {
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) return Fail(Nerr::kInvalid, "the graph has no node '{}'", name);
    added_.emplace(name, Added{});
    stack.push_back({found->second});
    return {};
  }

  Result<void> Complete(tf::NodeDef& definition) {
    Node node;
    node.name = definition.name();
    for (const std::string& input : definition.input()) {
      if (input.starts_with('^')) continue;
      NRTD_ASSIGN(const TensorName tensor, ParseTensorName(input));
      const uint32_t from = added_.at(tensor.node).index;
      if (tensor.output >= OutputsOf(graph_.nodes[from]) && problems_.empty()) {
        return Fail(Nerr::kInvalid, "node '{}' reads '{}', which is no output of its node",
                    node.name, input);
      }
      node.inputs.push_back({from, tensor.output});
    }
    if (auto operation = Make(definition, node); operation) {
      node.operation = std::move(*operation);
    } else {
      problems_.push_back(fmt::format("{} '{}': {}", Printable(definition.op()),
                                      Printable(node.name), operation.error().text));
      node.operation = op::Identity{};
    }
    const auto index = static_cast<uint32_t>(graph_.nodes.size());
    if (auto* neuron = std::get_if<op::Neuron>(&node.operation)) {
      neuron->number = static_cast<uint32_t>(graph_.neuron_ops.size());
      graph_.neuron_ops.push_back(index);
    }
    graph_.nodes.push_back(std::move(node));
    added_[definition.name()] = {true, index};
    return {};
  }

  static Result<Operation> Make(tf::NodeDef& definition, const Node& node) {
    const auto maker = Makers().find(definition.op());
    if (maker == Makers().end())
      return Fail(Nerr::kInvalid, "the model server does not have this operation");
    const auto inputs = static_cast<int>(node.inputs.size());
    if (inputs < maker->second.min_inputs || inputs > maker->second.max_inputs)
      return Fail(Nerr::kInvalid, "it has {} inputs", inputs);
    NRTD_ASSIGN(Operation operation, maker->second.make(definition));
    const auto* neuron = std::get_if<op::Neuron>(&operation);
    if (neuron != nullptr && neuron->inputs.size() != node.inputs.size()) {
      return Fail(Nerr::kInvalid, "it has {} inputs, and names {}", inputs, neuron->inputs.size());
    }
    return operation;
  }

  std::unordered_map<std::string, tf::NodeDef*> by_name_;
  std::unordered_map<std::string, Added> added_;
  Graph graph_;
  std::vector<std::string> problems_;
};

Result<std::map<std::string, SignatureTensor>> SignatureTensors(
    const google::protobuf::Map<std::string, tf::TensorInfo>& infos, Builder& builder) {
  std::map<std::string, SignatureTensor> tensors;
  for (const auto& [key, info] : infos) {
    const auto of_key = [&name = key](Error error) {
      error.text = fmt::format("'{}': {}", Printable(name), error.text);
      return error;
    };
    NRTD_ASSIGN(TensorSpec spec, SpecOf(info.dtype(), info.tensor_shape()).map_error(of_key));
    NRTD_ASSIGN(const Port port, builder.Add(info.name()).map_error(of_key));
    tensors.emplace(key, SignatureTensor{port, std::move(spec)});
  }
  return tensors;
}

Result<Signature> SignatureOf(const tf::SignatureDef& definition, Builder& builder) {
  Signature signature;
  signature.method = definition.method_name();
  NRTD_ASSIGN(signature.inputs, SignatureTensors(definition.inputs(), builder));
  NRTD_ASSIGN(signature.outputs, SignatureTensors(definition.outputs(), builder));
  for (const auto& [key, tensor] : signature.inputs) {
    if (!std::holds_alternative<op::Placeholder>(builder.graph().nodes[tensor.port.node].operation))
      return Fail(Nerr::kInvalid, "input '{}' is no placeholder", key);
  }
  return signature;
}

tf::MetaGraphDef* FindServed(tf::SavedModel& saved_model) {
  for (tf::MetaGraphDef& meta : *saved_model.mutable_meta_graphs()) {
    const auto& tags = meta.meta_info_def().tags();
    if (std::find(tags.begin(), tags.end(), "serve") != tags.end()) return &meta;
  }
  return nullptr;
}

}  // namespace

Result<tf::SavedModel> ReadSavedModelFile(const std::string& folder) {
  const std::string path = (std::filesystem::path(folder) / "saved_model.pb").string();
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return Fail(Nerr::kInvalid, "cannot read {}: {}", path, ErrnoText(errno));
  google::protobuf::io::FileInputStream stream(file.get());
  tf::SavedModel saved_model;
  if (!saved_model.ParseFromZeroCopyStream(&stream)) {
    if (stream.GetErrno() != 0)
      return Fail(Nerr::kInvalid, "cannot read {}: {}", path, ErrnoText(stream.GetErrno()));
    return Fail(Nerr::kInvalid, "{} is no SavedModel", path);
  }
  return saved_model;
}

Result<Graph> BuildGraph(tf::SavedModel& saved_model) {
  tf::MetaGraphDef* const meta = FindServed(saved_model);
  if (meta == nullptr) return Fail(Nerr::kInvalid, "it has no graph with the tag 'serve'");
  if (meta->graph_def().node_size() > kMaxGraphNodes) {
    return Fail(Nerr::kInvalid, "its graph has {} nodes, and {} at most are read",
                meta->graph_def().node_size(), kMaxGraphNodes);
  }
  if (meta->signature_def().empty()) return Fail(Nerr::kInvalid, "it has no signature");
  Builder builder(*meta->mutable_graph_def());
  std::map<std::string, Signature> signatures;
  for (const auto& [name, definition] : meta->signature_def()) {
    // What initialises a training graph, or says where its tables are.
    if (definition.outputs().empty()) continue;
    NRTD_ASSIGN(signatures[name],
                SignatureOf(definition, builder).map_error([&key = name](Error error) {
                  error.text = fmt::format("signature '{}': {}", Printable(key), error.text);
                  return error;
                }));
  }
  NRTD_ASSIGN(Graph graph, builder.Finish());
  graph.signatures = std::move(signatures);
  return graph;
}

}  // namespace nrtd::serving
