// SPDX-License-Identifier: Apache-2.0
#include "compiler/operators/operator.h"

#include <algorithm>
#include <set>

#include "compiler/evaluate.h"

namespace nrtd::compiler {
namespace {

struct Row {
  std::string_view op_type;
  BuildOperator* build;  // none: gone before nodes are built
};
constexpr Row kOperators[] = {
    {"Abs", BuildFunction},
    {"Add", BuildArithmetic},
    {"And", BuildLogic},
    {"ArgMax", BuildArgExtremum},
    {"ArgMin", BuildArgExtremum},
    {"AveragePool", BuildPool},
    {"BatchNormalization", BuildBatchNormalization},
    {"Cast", BuildCast},
    {"Ceil", BuildFunction},
    {"Clip", BuildClip},
    {"Concat", BuildConcat},
    {"Constant", nullptr},
    {"ConstantOfShape", BuildConstantOfShape},
    {"Conv", BuildConv},
    {"ConvTranspose", BuildConvTranspose},
    {"Cos", BuildHostFunction},
    {"CumSum", BuildCumSum},
    {"DepthToSpace", BuildSpaceDepth},
    {"Div", BuildArithmetic},
    {"Dropout", BuildIdentity},
    {"Elu", BuildFunction},
    {"Equal", BuildComparison},
    {"Erf", BuildFunction},
    {"Exp", BuildFunction},
    {"Expand", BuildExpand},
    {"Flatten", BuildReshape},
    {"Floor", BuildFunction},
    {"GRU", BuildGru},
    {"Gather", BuildGather},
    {"Gemm", BuildGemm},
    {"GlobalAveragePool", BuildGlobalPool},
    {"GlobalMaxPool", BuildGlobalPool},
    {"Greater", BuildComparison},
    {"GreaterOrEqual", BuildComparison},
    {"HardSigmoid", BuildHardActivation},
    {"HardSwish", BuildHardActivation},
    {"Identity", BuildIdentity},
    {"LSTM", BuildLstm},
    {"LayerNormalization", BuildLayerNormalization},
    {"LeakyRelu", BuildFunction},
    {"Less", BuildComparison},
    {"LessOrEqual", BuildComparison},
    {"Log", BuildFunction},
    {"MatMul", BuildMatMul},
    {"Max", BuildArithmetic},
    {"MaxPool", BuildPool},
    {"Mean", BuildArithmetic},
    {"Min", BuildArithmetic},
    {"Mul", BuildArithmetic},
    {"Neg", BuildFunction},
    {"Not", BuildLogic},
    {"Or", BuildLogic},
    {"Pad", BuildPad},
    {"Pow", BuildArithmetic},
    {"Range", BuildRange},
    {"Reciprocal", BuildFunction},
    {"ReduceMax", BuildReduction},
    {"ReduceMean", BuildReduction},
    {"ReduceMin", BuildReduction},
    {"ReduceProd", BuildReduction},
    {"ReduceSum", BuildReduction},
    {"Relu", BuildFunction},
    {"Reshape", BuildReshape},
    {"Resize", BuildResize},
    {"Round", BuildHostFunction},
    {"Shape", BuildShape},
    {"Sigmoid", BuildFunction},
    {"Sign", BuildHostFunction},
    {"Sin", BuildHostFunction},
    {"Size", BuildShape},
    {"Slice", BuildSlice},
    {"Softmax", BuildSoftmax},
    {"Softplus", BuildFunction},
    {"SpaceToDepth", BuildSpaceDepth},
    {"Split", BuildSplit},
    {"Sqrt", BuildFunction},
    {"Squeeze", BuildReshape},
    {"Sub", BuildArithmetic},
    {"Sum", BuildArithmetic},
    {"Tan", BuildHostFunction},
    {"Tanh", BuildFunction},
    {"Tile", BuildTile},
    {"TopK", BuildTopK},
    {"Transpose", BuildTranspose},
    {"Unsqueeze", BuildReshape},
    {"Where", BuildWhere},
};

const Row* Find(std::string_view op_type) {
  const auto* row = std::find_if(std::begin(kOperators), std::end(kOperators),
                                 [&](const Row& r) { return r.op_type == op_type; });
  return row == std::end(kOperators) ? nullptr : row;
}

}  // namespace

std::vector<std::string_view> SupportedOperators() {
  std::vector<std::string_view> names;
  for (const Row& row : kOperators) names.push_back(row.op_type);
  return names;
}

bool IsSupported(std::string_view op_type) {
  return Find(op_type) != nullptr;
}

std::string Describe(const OnnxNode& node) {
  return fmt::format("{} '{}'", node.op_type, node.name);
}

namespace {
Result<void> CheckSize(std::string_view tensor, const Shape& shape) {
  const auto count = ElementCount(shape);
  if (count && *count <= sim::kMaxElements) return {};
  return Fail(Nerr::kInvalid, "tensor '{}' of shape {} has more than the {} elements that may be",
              tensor, ShapeText(shape), sim::kMaxElements);
}
}  // namespace

Result<void> CheckSize(const OnnxNode& node, std::string_view tensor, const Shape& shape) {
  auto fits = CheckSize(tensor, shape);
  if (!fits) return tl::unexpected<Error>(std::move(fits.error()).In(Describe(node)));
  return fits;
}

GraphBuilder::GraphBuilder(OnnxModel& model) : model_(model) {
  graph_.name = model.graph_name;
}

Result<ValueId> GraphBuilder::Declare(const std::string& name) {
  const auto type = model_.types.find(name);
  if (type == model_.types.end()) {
    return Fail(Nerr::kInvalid,
                "the shape of tensor '{}' depends on data that is not known before the network "
                "runs; make it constant",
                name);
  }
  NRTD_TRY(CheckSize(name, type->second.shape));
  const ValueId id = graph_.Add({name, type->second.dtype, type->second.shape, std::nullopt});
  by_name_[name] = id;
  return id;
}

Result<ValueId> GraphBuilder::Input(const OnnxNode& node, size_t index) {
  if (!node.HasInput(index))
    return Fail(Nerr::kInvalid, "{} has no input {}", Describe(node), index);
  const std::string& name = node.inputs[index];
  if (const auto known = by_name_.find(name); known != by_name_.end()) return known->second;
  const auto initializer = model_.initializers.find(name);
  if (initializer == model_.initializers.end())
    return Fail(Nerr::kInvalid, "{} reads tensor '{}', which nothing makes", Describe(node), name);
  OnnxTensor& tensor = initializer->second;
  if (tensor.data.empty())
    return Fail(Nerr::kInvalid, "{}: tensor '{}' of shape {} has no elements", Describe(node), name,
                ShapeText(tensor.type.shape));
  const ValueId id =
      graph_.Add({name, tensor.type.dtype, tensor.type.shape, std::move(tensor.data)});
  by_name_[name] = id;
  return id;
}

namespace {
Result<void> CheckOnlyOutput(const OnnxNode& node, size_t index) {
  for (size_t i = index + 1; i < node.outputs.size(); ++i) {
    if (node.HasOutput(i)) {
      return Fail(Nerr::kInvalid, "{}: its output {} ('{}') is not supported, only the first is",
                  Describe(node), i, node.outputs[i]);
    }
  }
  return {};
}
}  // namespace

Result<ValueId> GraphBuilder::Output(const OnnxNode& node, size_t index) {
  NRTD_TRY(CheckOnlyOutput(node, index));
  auto id = Declare(node.outputs.at(index));
  if (!id) return tl::unexpected<Error>(std::move(id.error()).In(Describe(node)));
  return id;
}

Result<ValueId> GraphBuilder::Output(const OnnxNode& node, DType dtype, Shape shape, size_t index) {
  const std::string& name = node.outputs.at(index);
  const auto type = model_.types.find(name);
  if (type != model_.types.end() && (type->second.dtype != dtype || type->second.shape != shape)) {
    return Fail(Nerr::kInvalid, "{}: output '{}' is {} {}, ONNX says {} {}", Describe(node), name,
                DTypeName(dtype), ShapeText(shape), DTypeName(type->second.dtype),
                ShapeText(type->second.shape));
  }
  if (std::any_of(shape.begin(), shape.end(), [](int64_t d) { return d < 1; })) {
    return Fail(Nerr::kInvalid, "{}: output '{}' of shape {} has no elements", Describe(node), name,
                ShapeText(shape));
  }
  NRTD_TRY(CheckSize(node, name, shape));
  const ValueId id = graph_.Add({name, dtype, std::move(shape), std::nullopt});
  by_name_[name] = id;
  return id;
}

Result<std::vector<int64_t>> GraphBuilder::Integers(const OnnxNode& node, size_t index) {
  NRTD_ASSIGN(const ValueId id, Input(node, index));
  const Value& value = at(id);
  if (!value.IsConstant()) {
    return Fail(Nerr::kInvalid,
                "{}: its input '{}' is not known before the network runs; make it constant",
                Describe(node), value.name);
  }
  std::vector<int64_t> integers;
  for (size_t i = 0; i < value.Elements(); ++i) {
    if (value.dtype == DType::kInt64) {
      integers.push_back(LoadAt<int64_t>(*value.data, i * sizeof(int64_t)));
    } else if (value.dtype == DType::kInt32) {
      integers.push_back(LoadAt<int32_t>(*value.data, i * sizeof(int32_t)));
    } else {
      return Fail(Nerr::kInvalid, "{}: its input '{}' is {}, expected integers", Describe(node),
                  value.name, DTypeName(value.dtype));
    }
  }
  return integers;
}

ValueId GraphBuilder::Constant(const OnnxNode& node, std::string_view what, DType dtype,
                               Shape shape, ByteVector data) {
  const ValueId id = Between(node, what, std::move(shape), dtype);
  Set(id, std::move(data));
  return id;
}

ValueId GraphBuilder::Constant(const OnnxNode& node, std::string_view what, Shape shape,
                               const std::vector<float>& values) {
  return Constant(node, what, DType::kFloat32, std::move(shape), BytesOf(values));
}

namespace {
Result<ValueId> RequireFloat(Result<ValueId> id, const OnnxNode& node,
                             const GraphBuilder& builder) {
  if (!id || builder.at(*id).dtype == DType::kFloat32) return id;
  return Fail(Nerr::kInvalid,
              "{}: tensor '{}' is {}, but only float32 can be computed with; convert the model",
              Describe(node), builder.at(*id).name, DTypeName(builder.at(*id).dtype));
}
}  // namespace

Result<ValueId> GraphBuilder::FloatInput(const OnnxNode& node, size_t index) {
  return RequireFloat(Input(node, index), node, *this);
}

Result<ValueId> GraphBuilder::FloatOutput(const OnnxNode& node) {
  return RequireFloat(Output(node), node, *this);
}

ValueId GraphBuilder::Between(const OnnxNode& node, std::string_view what, Shape shape,
                              DType dtype) {
  return graph_.Add({fmt::format("{}.{}", node.name, what), dtype, std::move(shape), std::nullopt});
}

void GraphBuilder::Append(const OnnxNode& node, Operation operation, std::vector<ValueId> inputs,
                          ValueId output) {
  Node appended{Describe(node), std::move(operation), std::move(inputs), output};
  if (auto data = Evaluate(graph_, appended)) {
    Set(output, std::move(*data));
  } else {
    graph_.nodes.push_back(std::move(appended));
  }
}

Result<size_t> AxisOf(const OnnxNode& node, int64_t axis, size_t rank) {
  const auto dimensions = static_cast<int64_t>(rank);
  if (axis >= -dimensions && axis < dimensions)
    return static_cast<size_t>(axis < 0 ? axis + dimensions : axis);
  return Fail(Nerr::kInvalid, "{}: axis {} is outside {} dimensions", Describe(node), axis, rank);
}

Result<std::vector<int64_t>> ListOf(const OnnxNode& node, const std::string& attribute,
                                    size_t input, GraphBuilder& builder) {
  if (node.HasInput(input)) return builder.Integers(node, input);
  return node.Attribute<std::vector<int64_t>>(attribute, {});
}

Result<Graph> GraphBuilder::Finish() && {
  std::set<std::string> seen(model_.inputs.begin(), model_.inputs.end());
  for (const std::string& name : model_.outputs) {
    if (!seen.insert(name).second) {
      return Fail(Nerr::kInvalid, "output '{}' is an input or an output already", name);
    }
    // An output may be an initializer that no node uses: Input() makes it a value.
    OnnxNode reader{"output", name, {name}, {}, {}};
    NRTD_ASSIGN(const ValueId id, Input(reader, 0));
    graph_.outputs.push_back(id);
  }
  for (const Value& value : graph_.values) NRTD_TRY(CheckSize(value.name, value.shape));
  if (graph_.outputs.empty()) return Fail(Nerr::kInvalid, "the model has no outputs");
  NRTD_TRY(graph_.Check());
  return std::move(graph_);
}

Result<Graph> BuildGraph(OnnxModel model) {
  GraphBuilder builder(model);
  for (const std::string& name : model.inputs) {
    NRTD_ASSIGN(const ValueId id, builder.Declare(name));
    builder.graph_.inputs.push_back(id);
  }
  for (const OnnxNode& node : model.nodes) {
    const Row* row = Find(node.op_type);
    if (row == nullptr || row->build == nullptr)
      return Fail(Nerr::kInvalid, "{} is not supported", Describe(node));
    NRTD_TRY(row->build(node, builder));
  }
  return std::move(builder).Finish();
}

}  // namespace nrtd::compiler
