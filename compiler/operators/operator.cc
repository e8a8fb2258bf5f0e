// SPDX-License-Identifier: Apache-2.0
#include "compiler/operators/operator.h"

#include <algorithm>
#include <set>

namespace nrtd::compiler {
namespace {

struct Row {
  std::string_view op_type;
  Result<void> (*build)(const OnnxNode&, GraphBuilder&);  // none: gone before nodes are built
};
constexpr Row kOperators[] = {
    {"Add", BuildAdd},         {"Constant", nullptr}, {"Conv", BuildConv},
    {"Flatten", BuildReshape}, {"Gemm", BuildGemm},   {"MatMul", BuildMatMul},
    {"MaxPool", BuildMaxPool}, {"Relu", BuildRelu},   {"Reshape", BuildReshape},
    {"Softmax", BuildSoftmax},
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

Result<ValueId> GraphBuilder::Output(const OnnxNode& node) {
  for (size_t i = 1; i < node.outputs.size(); ++i) {
    if (node.HasOutput(i)) {
      return Fail(Nerr::kInvalid, "{}: its output {} ('{}') is not supported, only the first is",
                  Describe(node), i, node.outputs[i]);
    }
  }
  auto id = Declare(node.outputs.at(0));
  if (!id) return tl::unexpected<Error>(std::move(id.error()).In(Describe(node)));
  return id;
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

ValueId GraphBuilder::Between(const OnnxNode& node, std::string_view what, Shape shape) {
  return graph_.Add(
      {fmt::format("{}.{}", node.name, what), DType::kFloat32, std::move(shape), std::nullopt});
}

void GraphBuilder::Append(const OnnxNode& node, Operation operation, std::vector<ValueId> inputs,
                          ValueId output) {
  graph_.nodes.push_back({Describe(node), operation, std::move(inputs), output});
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
