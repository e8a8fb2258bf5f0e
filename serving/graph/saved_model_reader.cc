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

// A node's attributes, with errors that name them.
class Attributes {
 public:
  explicit Attributes(const tf::NodeDef& node) : node_(node) {}

  const tf::AttrValue* Find(const char* name) const {
    const auto found = node_.attr().find(name);
    return found == node_.attr().end() ? nullptr : &found->second;
  }
  Result<DType> Type(const char* name) const {
    const tf::AttrValue* value = Find(name);
    if (value == nullptr) return Fail(Nerr::kInvalid, "attribute '{}' is missing", name);
    const auto dtype = DTypeOf(value->type());
    if (!dtype) {
      return Fail(Nerr::kInvalid, "attribute '{}': elements of type {} are not supported", name,
                  DataTypeName(value->type()));
    }
    return *dtype;
  }
  Result<DType> TypeOr(const char* name, DType otherwise) const {
    return Find(name) == nullptr ? Result<DType>(otherwise) : Type(name);
  }
  int64_t Int(const char* name, int64_t otherwise) const {
    const tf::AttrValue* value = Find(name);
    return value == nullptr ? otherwise : value->i();
  }
  bool Bool(const char* name) const {
    const tf::AttrValue* value = Find(name);
    return value != nullptr && value->b();
  }
  const tf::AttrValue::ListValue& List(const char* name) const {
    const tf::AttrValue* value = Find(name);
    return value == nullptr ? tf::AttrValue::ListValue::default_instance() : value->list();
  }

 private:
  const tf::NodeDef& node_;
};

Result<TensorSpec> SpecOf(tf::DataType type, const tf::TensorShapeProto& shape) {
  const auto dtype = DTypeOf(type);
  if (!dtype)
    return Fail(Nerr::kInvalid, "elements of type {} are not supported", DataTypeName(type));
  TensorSpec spec{*dtype, {}, shape.unknown_rank()};
  for (const auto& dim : shape.dim()) {
    if (dim.size() < -1) return Fail(Nerr::kInvalid, "a dimension of {} elements", dim.size());
    spec.shape.push_back(dim.size());
  }
  return spec;
}

Result<std::vector<op::NeuronTensor>> NeuronTensors(const Attributes& attributes,
                                                    const std::string& which) {
  const auto& names = attributes.List((which + "_names").c_str());
  const auto& types = attributes.List((which + "_dtypes").c_str());
  const auto& shapes = attributes.List((which + "_shapes").c_str());
  const auto& axes = attributes.List((which + "_batch_axis").c_str());
  if (names.s_size() != types.type_size() || names.s_size() != shapes.shape_size() ||
      (axes.i_size() != 0 && axes.i_size() != names.s_size())) {
    return Fail(Nerr::kInvalid,
                "{0}_names, {0}_dtypes, {0}_shapes and {0}_batch_axis differ in length", which);
  }
  std::vector<op::NeuronTensor> tensors;
  for (int i = 0; i < names.s_size(); ++i) {
    const auto of_tensor = [&](Error error) {
      error.text = fmt::format("{} '{}': {}", which, Printable(names.s(i)), error.text);
      return error;
    };
    NRTD_ASSIGN(const TensorSpec spec, SpecOf(types.type(i), shapes.shape(i)).map_error(of_tensor));
    const int64_t axis = axes.i_size() == 0 ? -1 : axes.i(i);
    const bool fixed = !spec.unknown_rank && ElementCount(spec.shape).value_or(0) > 0;
    if (!fixed || axis >= static_cast<int64_t>(spec.shape.size())) {
      return Fail(Nerr::kInvalid, "{} '{}' has the shape {} and the batch axis {}", which,
                  names.s(i), ShapeText(spec.shape), axis);
    }
    tensors.push_back({names.s(i), spec.dtype, spec.shape, axis});
  }
  return tensors;
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

std::shared_ptr<const std::string> TakeBytes(std::string* bytes) {
  return std::make_shared<const std::string>(std::move(*bytes));
}

// The size of the batch in the tensors' shapes; 0: none has a batch axis.
Result<int64_t> BatchOf(const op::Neuron& neuron) {
  int64_t batch = 0;
  for (const auto* tensors : {&neuron.inputs, &neuron.outputs}) {
    for (const op::NeuronTensor& tensor : *tensors) {
      if (tensor.batch_axis < 0) continue;
      const int64_t here = tensor.shape[static_cast<size_t>(tensor.batch_axis)];
      if (batch == 0) batch = here;
      if (here == batch) continue;
      return Fail(Nerr::kInvalid, "'{}' has a batch of {}, others of {}", Printable(tensor.name),
                  here, batch);
    }
  }
  return batch;
}

// Sets `batch` to what these shapes have at the tensors' batch axes; they differ nowhere else.
Result<void> FindBatch(const std::vector<op::NeuronTensor>& tensors,
                       const tf::AttrValue::ListValue& shapes, int first, int64_t* batch) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    NRTD_ASSIGN(const TensorSpec spec,
                SpecOf(DataTypeOf(tensors[i].dtype), shapes.shape(first + static_cast<int>(i))));
    Shape shape = tensors[i].shape;
    if (tensors[i].batch_axis >= 0 && spec.shape.size() == shape.size()) {
      const auto axis = static_cast<size_t>(tensors[i].batch_axis);
      shape[axis] = spec.shape[axis];
      if (*batch == 0) *batch = shape[axis];
      if (*batch != shape[axis]) *batch = -1;
    }
    if (spec.shape == shape && *batch >= 0 && ElementCount(shape).value_or(0) > 0) continue;
    return Fail(Nerr::kInvalid,
                "a variant has the shape {} for '{}', which differs from {} elsewhere than in the "
                "batch, or from its other tensors' batch",
                ShapeText(spec.shape), Printable(tensors[i].name), ShapeText(tensors[i].shape));
  }
  return {};
}

constexpr int kMostVariants = 64;

Result<void> AddVariants(tf::NodeDef& node, op::Neuron& neuron) {
  const Attributes attributes(node);
  const auto& inputs = attributes.List(op::kVariantInputShapes);
  const auto& outputs = attributes.List(op::kVariantOutputShapes);
  const auto found = node.mutable_attr()->find(op::kVariantExecutables);
  if (found == node.mutable_attr()->end()) return {};
  auto& executables = *found->second.mutable_list()->mutable_s();
  if (executables.size() > kMostVariants)
    return Fail(Nerr::kInvalid, "{} variants, and {} at most", executables.size(), kMostVariants);
  const auto in_count = static_cast<int>(neuron.inputs.size());
  const auto out_count = static_cast<int>(neuron.outputs.size());
  if (inputs.shape_size() != int64_t{executables.size()} * in_count ||
      outputs.shape_size() != int64_t{executables.size()} * out_count) {
    return Fail(Nerr::kInvalid, "{} variants, and shapes for {} inputs and {} outputs of them",
                executables.size(), inputs.shape_size(), outputs.shape_size());
  }
  for (int i = 0; i < executables.size(); ++i) {
    int64_t batch = 0;
    NRTD_TRY(FindBatch(neuron.inputs, inputs, i * in_count, &batch));
    NRTD_TRY(FindBatch(neuron.outputs, outputs, i * out_count, &batch));
    if (batch == 0 || executables[i].empty())
      return Fail(Nerr::kInvalid, "variant {} has {}", i,
                  batch == 0 ? "no tensor with a batch" : "no executable");
    const auto same = [&](const op::Executable& other) { return other.batch == batch; };
    if (std::any_of(neuron.executables.begin(), neuron.executables.end(), same))
      return Fail(Nerr::kInvalid, "two executables for a batch of {}", batch);
    neuron.executables.push_back({batch, TakeBytes(executables.Mutable(i))});
  }
  return {};
}

Result<Operation> NeuronOf(tf::NodeDef& node) {
  const Attributes attributes(node);
  op::Neuron neuron;
  NRTD_ASSIGN(neuron.inputs, NeuronTensors(attributes, "input"));
  NRTD_ASSIGN(neuron.outputs, NeuronTensors(attributes, "output"));
  const auto& config = attributes.List("model_config").i();
  neuron.model_config.assign(config.begin(), config.end());
  const auto executable = node.mutable_attr()->find("executable");
  if (executable == node.mutable_attr()->end() || executable->second.s().empty()) {
    return Fail(
        Nerr::kInvalid,
        "it has no executable: the graph was not compiled; save it with tfn.saved_model.compile "
        "or neuron-cc compile --saved-model");
  }
  NRTD_ASSIGN(const int64_t batch, BatchOf(neuron));
  neuron.executables.push_back({batch, TakeBytes(executable->second.mutable_s())});
  NRTD_TRY(AddVariants(node, neuron));
  return neuron;
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
