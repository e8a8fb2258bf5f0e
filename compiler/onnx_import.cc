// SPDX-License-Identifier: Apache-2.0
//
// The only file that includes ONNX's and protobuf's headers.
#include "compiler/onnx_import.h"

#include <algorithm>
#include <charconv>
#include <climits>
#include <optional>
#include <set>

#include <fmt/ranges.h>
#include <onnx/checker.h>
#include <onnx/onnx_pb.h>
#include <onnx/shape_inference/implementation.h>

#include "base/file.h"
#include "base/sizes.h"
#include "compiler/external_data.h"
#include "compiler/operators/operator.h"

namespace nrtd::compiler {
namespace {

bool IsStandardDomain(const std::string& domain) {
  return domain.empty() || domain == "ai.onnx";
}

Result<DType> DTypeOf(int32_t type, std::string_view tensor) {
  using onnx::TensorProto;
  switch (type) {
    case TensorProto::FLOAT:
      return DType::kFloat32;
    case TensorProto::BFLOAT16:
      return DType::kBFloat16;
    case TensorProto::FLOAT16:
      return DType::kFloat16;
    case TensorProto::DOUBLE:
      return DType::kFloat64;
    case TensorProto::INT8:
      return DType::kInt8;
    case TensorProto::UINT8:
      return DType::kUInt8;
    case TensorProto::INT16:
      return DType::kInt16;
    case TensorProto::UINT16:
      return DType::kUInt16;
    case TensorProto::INT32:
      return DType::kInt32;
    case TensorProto::UINT32:
      return DType::kUInt32;
    case TensorProto::INT64:
      return DType::kInt64;
    case TensorProto::UINT64:
      return DType::kUInt64;
    case TensorProto::BOOL:
      return DType::kBool;
    default:
      return Fail(
          Nerr::kInvalid, "tensor '{}' has the element type {}, which is not supported", tensor,
          onnx::TensorProto_DataType_IsValid(type)
              ? onnx::TensorProto_DataType_Name(static_cast<onnx::TensorProto_DataType>(type))
              : std::to_string(type));
  }
}

Result<onnx::ModelProto> Parse(const std::string& path) {
  NRTD_ASSIGN(const ByteVector file, ReadFile(path));
  if (file.empty()) return Fail(Nerr::kInvalid, "the file is empty");
  if (file.size() > INT_MAX) {
    return Fail(Nerr::kInvalid,
                "{} is more than the 2 GiB that an ONNX file may have: save it with external data "
                "(onnx.save_model(..., save_as_external_data=True))",
                HumanBytes(file.size()));
  }
  onnx::ModelProto model;
  if (!model.ParseFromArray(file.data(), static_cast<int>(file.size())) || !model.has_graph()) {
    return Fail(
        Nerr::kInvalid,
        "not an ONNX model, or a truncated one: its {} bytes hold no graph; export it again",
        file.size());
  }
  return model;
}

Result<int64_t> CheckOpset(const onnx::ModelProto& model) {
  for (const auto& import : model.opset_import()) {
    if (!IsStandardDomain(import.domain())) continue;
    if (import.version() >= kMinOpset && import.version() <= kMaxOpset) return import.version();
    return Fail(
        Nerr::kInvalid,
        "the model uses ONNX operator set {}; {} to {} are supported: export it with one of "
        "them, or convert it with onnx.version_converter",
        import.version(), kMinOpset, kMaxOpset);
  }
  return Fail(Nerr::kInvalid, "the model does not say which ONNX operator set it uses");
}

std::string NodeName(const onnx::NodeProto& node) {
  if (!node.name().empty()) return node.name();
  return node.output_size() > 0 ? node.output(0) : "unnamed";
}

Result<void> CheckOperators(const onnx::GraphProto& graph) {
  std::map<std::string, std::vector<std::string>> unsupported;
  size_t count = 0;
  for (const auto& node : graph.node()) {
    if (IsStandardDomain(node.domain()) && IsSupported(node.op_type())) continue;
    const std::string name =
        IsStandardDomain(node.domain()) ? node.op_type() : node.domain() + "." + node.op_type();
    unsupported[name].push_back(NodeName(node));
    ++count;
  }
  if (unsupported.empty()) return {};
  std::string list;
  constexpr size_t kNamed = 5;
  for (const auto& [op, nodes] : unsupported) {
    const size_t shown = std::min(nodes.size(), kNamed);
    list += fmt::format(
        "\n  {} ({}): {}{}", op, nodes.size(),
        fmt::join(nodes.begin(), nodes.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
        shown < nodes.size() ? ", ..." : "");
  }
  return Fail(Nerr::kInvalid,
              "{} nodes use {} operators that are not supported ('neuron-cc list-operators "
              "--framework ONNX' prints those that are):{}",
              count, unsupported.size(), AsIs(list));
}

std::set<std::string> InitializerNames(const onnx::GraphProto& graph) {
  std::set<std::string> names;
  for (const auto& tensor : graph.initializer()) names.insert(tensor.name());
  return names;
}

// One line for every dimension of the inputs that is not a number.
Result<void> CheckInputShapes(const onnx::GraphProto& graph) {
  const std::set<std::string> initializers = InitializerNames(graph);
  std::string list;
  std::string example = "N";
  for (const auto& input : graph.input()) {
    if (initializers.contains(input.name())) continue;
    if (!input.type().has_tensor_type())
      return Fail(Nerr::kInvalid, "input '{}' is not a tensor", input.name());
    const auto& type = input.type().tensor_type();
    if (!type.has_shape()) list += FormatText("\n  input '{}': no shape at all", input.name());
    for (int d = 0; d < type.shape().dim_size(); ++d) {
      const auto& dimension = type.shape().dim(d);
      if (dimension.has_dim_value() && dimension.dim_value() > 0) continue;
      if (dimension.has_dim_param() && !dimension.dim_param().empty()) {
        example = dimension.dim_param();
        list += FormatText("\n  input '{}': dimension {} is '{}'", input.name(), d, example);
      } else if (dimension.has_dim_value()) {
        list += FormatText("\n  input '{}': dimension {} is {}", input.name(), d,
                           dimension.dim_value());
      } else {
        list += FormatText("\n  input '{}': dimension {} is unknown", input.name(), d);
      }
    }
  }
  if (list.empty()) return {};
  return Fail(
      Nerr::kInvalid,
      "a NEFF has fixed shapes, but the model's are not:{}\nExport it without dynamic axes, "
      "or fix them: python3 -m onnxruntime.tools.make_dynamic_shape_fixed --dim_param {} "
      "--dim_value 1 model.onnx fixed.onnx",
      AsIs(list), example);
}

// A Constant node's value as an initializer. Those of strings or sparse tensors are not supported.
Result<onnx::TensorProto> InitializerOf(const onnx::NodeProto& node) {
  onnx::TensorProto tensor;
  if (node.attribute_size() == 1 && node.output_size() == 1) {
    const auto& attribute = node.attribute(0);
    if (attribute.name() == "value" && attribute.has_t()) {
      tensor = attribute.t();
    } else if (attribute.name() == "value_float" || attribute.name() == "value_floats") {
      tensor.set_data_type(onnx::TensorProto::FLOAT);
      if (attribute.name() == "value_float") tensor.add_float_data(attribute.f());
      for (float value : attribute.floats()) tensor.add_float_data(value);
      if (attribute.name() == "value_floats") tensor.add_dims(attribute.floats_size());
    } else if (attribute.name() == "value_int" || attribute.name() == "value_ints") {
      tensor.set_data_type(onnx::TensorProto::INT64);
      if (attribute.name() == "value_int") tensor.add_int64_data(attribute.i());
      for (int64_t value : attribute.ints()) tensor.add_int64_data(value);
      if (attribute.name() == "value_ints") tensor.add_dims(attribute.ints_size());
    }
  }
  if (tensor.data_type() == onnx::TensorProto::UNDEFINED) {
    return Fail(Nerr::kInvalid, "Constant '{}': only tensors and numbers are supported as value",
                NodeName(node));
  }
  tensor.set_name(node.output(0));
  return tensor;
}

// ONNX 1.12's shape inference sees through initializers, but not through every kind of Constant.
Result<void> HoistConstants(onnx::ModelProto& model) {
  onnx::GraphProto& graph = *model.mutable_graph();
  onnx::GraphProto kept;
  for (auto& node : *graph.mutable_node()) {
    if (node.op_type() != "Constant") {
      kept.add_node()->Swap(&node);
      continue;
    }
    NRTD_ASSIGN(*graph.add_initializer(), InitializerOf(node));
  }
  graph.mutable_node()->Swap(kept.mutable_node());
  // From version 4 on an initializer need not be an input, too.
  model.set_ir_version(std::max<int64_t>(model.ir_version(), 4));
  return {};
}

// The dimensions of a tensor that is there before any node runs.
std::optional<Shape> KnownShape(const onnx::GraphProto& graph, const std::string& name) {
  for (const auto& tensor : graph.initializer()) {
    if (tensor.name() == name) return Shape(tensor.dims().begin(), tensor.dims().end());
  }
  for (const auto& input : graph.input()) {
    if (input.name() != name) continue;
    Shape shape;
    for (const auto& dimension : input.type().tensor_type().shape().dim())
      shape.push_back(dimension.dim_value());
    return shape;
  }
  return std::nullopt;
}

// ONNX 1.12's shape inference divides by strides without looking, and takes a Conv's kernel_shape,
// where it is absent, from weights of any rank; a kernel_shape that is there it does check.
Result<void> GuardWindows(onnx::GraphProto& graph) {
  for (auto& node : *graph.mutable_node()) {
    bool has_kernel = node.op_type() != "Conv";
    for (const auto& attribute : node.attribute()) {
      has_kernel = has_kernel || attribute.name() == "kernel_shape";
      if (attribute.name() != "strides") continue;
      if (std::any_of(attribute.ints().begin(), attribute.ints().end(),
                      [](int64_t stride) { return stride < 1; })) {
        return Fail(Nerr::kInvalid, "{} '{}': a stride is less than 1", node.op_type(),
                    NodeName(node));
      }
    }
    if (has_kernel) continue;
    const auto shape =
        node.input_size() > 1 ? KnownShape(graph, node.input(1)) : std::optional<Shape>();
    if (!shape || shape->size() < 3) {
      return Fail(Nerr::kInvalid, "Conv '{}': its weights do not tell its kernel; add kernel_shape",
                  NodeName(node));
    }
    auto& kernel = *node.add_attribute();
    kernel.set_name("kernel_shape");
    kernel.set_type(onnx::AttributeProto::INTS);
    for (size_t d = 2; d < shape->size(); ++d) kernel.add_ints((*shape)[d]);
  }
  return {};
}

// float_data and its kin hold small types widened; `Field` is the repeated field's element.
template <typename Stored, typename Field>
ByteVector Narrowed(const google::protobuf::RepeatedField<Field>& field) {
  ByteVector bytes(static_cast<size_t>(field.size()) * sizeof(Stored));
  for (int i = 0; i < field.size(); ++i)
    StoreAt(MutableByteSpan(bytes), static_cast<size_t>(i) * sizeof(Stored),
            static_cast<Stored>(field.Get(i)));
  return bytes;
}

ByteVector ElementsOf(const onnx::TensorProto& tensor, DType dtype) {
  if (tensor.has_raw_data()) {
    const ByteSpan raw = AsBytes(tensor.raw_data());
    return ByteVector(raw.begin(), raw.end());
  }
  switch (dtype) {
    case DType::kFloat32:
      return Narrowed<float>(tensor.float_data());
    case DType::kFloat64:
      return Narrowed<double>(tensor.double_data());
    case DType::kInt64:
      return Narrowed<int64_t>(tensor.int64_data());
    case DType::kUInt64:
      return Narrowed<uint64_t>(tensor.uint64_data());
    case DType::kUInt32:
      return Narrowed<uint32_t>(tensor.uint64_data());
    case DType::kInt32:
      return Narrowed<int32_t>(tensor.int32_data());
    case DType::kInt16:
    case DType::kUInt16:
    case DType::kFloat16:
    case DType::kBFloat16:
      return Narrowed<uint16_t>(tensor.int32_data());
    case DType::kInt8:
    case DType::kUInt8:
    case DType::kBool:
      return Narrowed<uint8_t>(tensor.int32_data());
  }
  return {};
}

// What is too large for a protobuf, by the tensor's name: spans into the model's external files.
using LargeTensors = std::map<std::string, ByteSpan>;

// Where a tensor's elements lie outside of the model.
struct Location {
  std::string file;
  uint64_t offset = 0;
  uint64_t length = 0;  // 0: to the end
};
Result<Location> LocationOf(const onnx::TensorProto& tensor) {
  Location location;
  for (const auto& entry : tensor.external_data()) {
    if (entry.key() == "location") location.file = entry.value();
    for (auto [key, number] :
         {std::pair("offset", &location.offset), std::pair("length", &location.length)}) {
      if (entry.key() != key) continue;
      const std::string& text = entry.value();
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
      if (error != std::errc() || end != text.data() + text.size())
        return Fail(Nerr::kInvalid, "initializer '{}': its {} '{}' is no number", tensor.name(),
                    key, text);
    }
  }
  return location;
}

// What ONNX's shape inference may look into: shapes and indices.
bool IsIntegers(const onnx::TensorProto& tensor) {
  return tensor.data_type() == onnx::TensorProto::INT64 ||
         tensor.data_type() == onnx::TensorProto::INT32;
}

// Brings external tensors in: small ones, and integers, into the model; of others only a mark,
// which is long enough for one element of any type.
Result<LargeTensors> LoadExternal(onnx::GraphProto& graph, ExternalData& data) {
  constexpr uint64_t kSmall = 1 * kMiB;
  LargeTensors large;
  for (auto& tensor : *graph.mutable_initializer()) {
    if (tensor.data_location() != onnx::TensorProto::EXTERNAL) continue;
    NRTD_ASSIGN(const Location location, LocationOf(tensor));
    auto bytes = data.Read(location.file, location.offset, location.length);
    if (!bytes)
      return tl::unexpected<Error>(
          std::move(bytes.error()).In(fmt::format("initializer '{}'", tensor.name())));
    tensor.clear_external_data();
    tensor.set_data_location(onnx::TensorProto::DEFAULT);
    if (bytes->size() <= kSmall || IsIntegers(tensor)) {
      tensor.set_raw_data(bytes->data(), bytes->size());
    } else {
      tensor.set_raw_data(std::string(sizeof(uint64_t), '\0'));
      large[tensor.name()] = *bytes;
    }
  }
  return large;
}

Result<void> CheckBytes(const onnx::TensorProto& tensor, uint64_t bytes) {
  NRTD_ASSIGN(const DType dtype, DTypeOf(tensor.data_type(), tensor.name()));
  const Shape shape(tensor.dims().begin(), tensor.dims().end());
  const auto count = ElementCount(shape);
  const auto expected = count ? CheckedMultiply(*count, DTypeSize(dtype)) : std::nullopt;
  if (expected == bytes) return {};
  return Fail(Nerr::kInvalid, "initializer '{}' of shape {} has {} bytes of data, expected {}",
              tensor.name(), ShapeText(shape), bytes, expected.value_or(0));
}

// ONNX 1.12 copies raw data into as many whole elements as it has, all of its bytes.
Result<void> CheckRawData(const onnx::GraphProto& graph, const LargeTensors& large) {
  for (const auto& tensor : graph.initializer()) {
    const auto outside = large.find(tensor.name());
    if (outside != large.end()) {
      NRTD_TRY(CheckBytes(tensor, outside->second.size()));
    } else if (tensor.has_raw_data()) {
      NRTD_TRY(CheckBytes(tensor, tensor.raw_data().size()));
    }
  }
  for (const auto& node : graph.node()) {
    for (const auto& attribute : node.attribute()) {
      if (!attribute.has_t() || !attribute.t().has_raw_data()) continue;
      auto fits = CheckBytes(attribute.t(), attribute.t().raw_data().size());
      if (!fits)
        return tl::unexpected<Error>(
            std::move(fits.error()).In(fmt::format("{} '{}'", node.op_type(), NodeName(node))));
    }
  }
  return {};
}

Result<OnnxTensor> TakeTensor(const onnx::TensorProto& tensor, const LargeTensors& large = {}) {
  if (tensor.data_location() == onnx::TensorProto::EXTERNAL)
    return Fail(Nerr::kInvalid, "tensor '{}' of a node is stored outside the model", tensor.name());
  OnnxTensor taken;
  NRTD_ASSIGN(taken.type.dtype, DTypeOf(tensor.data_type(), tensor.name()));
  taken.type.shape.assign(tensor.dims().begin(), tensor.dims().end());
  const auto outside = large.find(tensor.name());
  taken.data = outside == large.end() ? ElementsOf(tensor, taken.type.dtype)
                                      : ByteVector(outside->second.begin(), outside->second.end());
  NRTD_TRY(CheckBytes(tensor, taken.data.size()));
  return taken;
}

// Leaves out what is no tensor or has no static shape: whoever needs it complains.
Result<void> TakeTypes(const google::protobuf::RepeatedPtrField<onnx::ValueInfoProto>& infos,
                       std::map<std::string, OnnxTensorType>& types) {
  for (const auto& info : infos) {
    if (!info.type().has_tensor_type() || !info.type().tensor_type().has_shape()) continue;
    const auto& tensor = info.type().tensor_type();
    OnnxTensorType type;
    NRTD_ASSIGN(type.dtype, DTypeOf(tensor.elem_type(), info.name()));
    const bool is_static = std::all_of(
        tensor.shape().dim().begin(), tensor.shape().dim().end(), [](const auto& dimension) {
          return dimension.has_dim_value() && dimension.dim_value() > 0;
        });
    if (!is_static) continue;
    for (const auto& dimension : tensor.shape().dim()) type.shape.push_back(dimension.dim_value());
    types[info.name()] = std::move(type);
  }
  return {};
}

Result<OnnxNode> TakeNode(const onnx::NodeProto& node) {
  OnnxNode taken{node.op_type(),
                 NodeName(node),
                 {node.input().begin(), node.input().end()},
                 {node.output().begin(), node.output().end()},
                 {}};
  for (const auto& attribute : node.attribute()) {
    using onnx::AttributeProto;
    OnnxAttribute& value = taken.attributes[attribute.name()];
    if (attribute.type() == AttributeProto::INT) value = int64_t{attribute.i()};
    if (attribute.type() == AttributeProto::FLOAT) value = attribute.f();
    if (attribute.type() == AttributeProto::STRING) value = attribute.s();
    if (attribute.type() == AttributeProto::INTS)
      value = std::vector<int64_t>(attribute.ints().begin(), attribute.ints().end());
    if (attribute.type() == AttributeProto::FLOATS)
      value = std::vector<float>(attribute.floats().begin(), attribute.floats().end());
    if (attribute.type() == AttributeProto::STRINGS)
      value = fmt::format("{}", fmt::join(attribute.strings(), ","));
    if (attribute.type() == AttributeProto::TENSOR) {
      NRTD_ASSIGN(value, TakeTensor(attribute.t()));
    }
  }
  return taken;
}

Result<OnnxModel> Take(const onnx::ModelProto& proto, const LargeTensors& large, int64_t opset) {
  const onnx::GraphProto& graph = proto.graph();
  OnnxModel model;
  model.graph_name = graph.name();
  model.opset = opset;
  for (const auto& tensor : graph.initializer()) {
    NRTD_ASSIGN(model.initializers[tensor.name()], TakeTensor(tensor, large));
  }
  for (const auto& input : graph.input()) {
    if (!model.initializers.contains(input.name())) model.inputs.push_back(input.name());
  }
  for (const auto& output : graph.output()) model.outputs.push_back(output.name());
  NRTD_TRY(TakeTypes(graph.input(), model.types));
  NRTD_TRY(TakeTypes(graph.value_info(), model.types));
  NRTD_TRY(TakeTypes(graph.output(), model.types));
  for (const auto& node : graph.node()) {
    NRTD_ASSIGN(OnnxNode taken, TakeNode(node));
    model.nodes.push_back(std::move(taken));
  }
  return model;
}

// Drops the declared shapes after the inputs: they are for another batch and are inferred again.
void SetBatch(onnx::GraphProto& graph, int64_t batch) {
  const std::set<std::string> initializers = InitializerNames(graph);
  std::optional<int64_t> before;  // of the first input; 0: a symbol
  for (auto& input : *graph.mutable_input()) {
    auto& type = *input.mutable_type()->mutable_tensor_type();
    if (initializers.contains(input.name()) || type.shape().dim_size() == 0) continue;
    auto& first = *type.mutable_shape()->mutable_dim(0);
    if (!before) before = first.dim_value();
    if (first.dim_value() == 0 || first.dim_value() == *before) first.set_dim_value(batch);
  }
  graph.clear_value_info();
  for (auto& output : *graph.mutable_output()) {
    auto& type = *output.mutable_type()->mutable_tensor_type();
    if (!type.has_shape()) continue;
    for (auto& dimension : *type.mutable_shape()->mutable_dim()) dimension.clear_value();
  }
}

Result<OnnxModel> ReadOrThrow(const std::string& path, std::optional<uint32_t> batch) {
  NRTD_ASSIGN(onnx::ModelProto proto, Parse(path));
  NRTD_ASSIGN(const int64_t opset, CheckOpset(proto));
  NRTD_TRY(CheckOperators(proto.graph()));
  if (batch) SetBatch(*proto.mutable_graph(), *batch);
  NRTD_TRY(CheckInputShapes(proto.graph()));
  ExternalData data(path);
  NRTD_ASSIGN(const LargeTensors large, LoadExternal(*proto.mutable_graph(), data));
  NRTD_TRY(CheckRawData(proto.graph(), large));
  onnx::checker::check_model(proto);
  NRTD_TRY(HoistConstants(proto));
  NRTD_TRY(GuardWindows(*proto.mutable_graph()));
  const onnx::ShapeInferenceOptions options(/*check_type=*/true, /*strict_mode=*/1,
                                            /*data_prop=*/true);
  onnx::shape_inference::InferShapes(proto, onnx::OpSchemaRegistry::Instance(), options);
  return Take(proto, large, opset);
}

}  // namespace

Result<OnnxModel> ReadOnnx(const std::string& path, std::optional<uint32_t> batch) {
  try {
    auto model = ReadOrThrow(path, batch);
    if (!model) return tl::unexpected<Error>(std::move(model.error()).In(path));
    return model;
  } catch (const std::exception& problem) {
    return Fail(Nerr::kInvalid, "{}: ONNX refuses the model: {}", path, problem.what());
  }
}

Result<Graph> ImportOnnx(const std::string& path, std::optional<uint32_t> batch) {
  NRTD_ASSIGN(OnnxModel model, ReadOnnx(path, batch));
  auto graph = BuildGraph(std::move(model));
  if (!graph) return tl::unexpected<Error>(std::move(graph.error()).In(path));
  return graph;
}

}  // namespace nrtd::compiler
