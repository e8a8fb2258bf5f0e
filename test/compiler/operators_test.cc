// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "compiler/operators/operator.h"
#include "compiler/passes/passes.h"
#include "test/compiler/cases.h"

namespace nrtd::compiler {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <typename T>
constexpr DType kTypeOf = DType::kFloat32;
template <>
constexpr DType kTypeOf<int64_t> = DType::kInt64;
template <>
constexpr DType kTypeOf<int32_t> = DType::kInt32;
template <>
constexpr DType kTypeOf<int16_t> = DType::kInt16;
template <>
constexpr DType kTypeOf<int8_t> = DType::kInt8;
template <>
constexpr DType kTypeOf<uint8_t> = DType::kUInt8;
template <>
constexpr DType kTypeOf<double> = DType::kFloat64;
template <>
constexpr DType kTypeOf<uint64_t> = DType::kUInt64;

// Models as import hands them on. What depends on constants only is known when they are built.
class ModelWriter {
 public:
  explicit ModelWriter(int64_t opset = 13) { model_.opset = opset; }

  void Input(const std::string& name, Shape shape, DType dtype = DType::kFloat32) {
    model_.inputs.push_back(name);
    Type(name, std::move(shape), dtype);
  }
  // What ONNX has inferred.
  void Type(const std::string& name, Shape shape, DType dtype = DType::kFloat32) {
    model_.types[name] = {dtype, std::move(shape)};
  }
  template <typename T>
  void Constant(const std::string& name, Shape shape, const std::vector<T>& elements) {
    ByteVector bytes(elements.size() * sizeof(T));
    std::memcpy(bytes.data(), elements.data(), bytes.size());
    model_.initializers[name] = {{kTypeOf<T>, std::move(shape)}, std::move(bytes)};
  }
  void Node(const std::string& op, std::vector<std::string> inputs, const std::string& output,
            std::map<std::string, OnnxAttribute> attributes = {}) {
    model_.nodes.push_back(
        {op, "the_" + output, std::move(inputs), {output}, std::move(attributes)});
  }
  Result<Graph> Build(const std::vector<std::string>& outputs = {"y"}) {
    model_.outputs = outputs;
    return BuildGraph(std::move(model_));
  }
  template <typename T>
  std::vector<T> Folded() {
    const Graph graph = Must(Build());
    const Value& value = graph.at(graph.outputs[0]);
    EXPECT_EQ(value.dtype, kTypeOf<T>);
    if (!value.IsConstant()) throw std::runtime_error("not known when it is built");
    std::vector<T> elements(value.data->size() / sizeof(T));
    std::memcpy(elements.data(), value.data->data(), value.data->size());
    return elements;
  }
  std::string Refusal() {
    const auto graph = Build();
    if (graph) return "accepted";
    EXPECT_EQ(graph.error().code, Nerr::kInvalid);
    return graph.error().text;
  }

 private:
  OnnxModel model_;
};

TEST(Divide, ByAConstantIsExact) {
  ModelWriter w;
  w.Constant<float>("x", {3}, {41, 47, 55});
  w.Constant<float>("s", {}, {41});
  w.Node("Div", {"x", "s"}, "quotient");
  w.Node("Floor", {"quotient"}, "y");
  EXPECT_THAT(w.Folded<float>(), ElementsAre(1, 1, 1));
  ModelWriter runtime;
  runtime.Input("x", {3});
  runtime.Constant<float>("s", {}, {41});
  runtime.Constant<float>("eighth", {}, {8});
  runtime.Node("Div", {"x", "s"}, "quotient");
  runtime.Node("Div", {"quotient", "eighth"}, "y");
  const Graph graph = Must(runtime.Build());
  ASSERT_EQ(graph.nodes.size(), 2U);
  EXPECT_EQ(std::get<Binary>(graph.nodes[0].operation).function, sim::BinaryFunction::kDivide);
  EXPECT_EQ(std::get<Activation>(graph.nodes[1].operation).alpha, 0.125F);
}

// As exporters write it: Div by the root of two.
TEST(Divide, ByAConstantIsStillRecognisedInGeluAndAttention) {
  ModelWriter w;
  w.Input("x", {2, 3, 4});
  w.Constant<float>("root", {}, {1.41421356F});
  w.Constant<float>("one", {}, {1});
  w.Constant<float>("half", {}, {0.5F});
  w.Node("Div", {"x", "root"}, "scaled");
  w.Node("Erf", {"scaled"}, "erf");
  w.Node("Add", {"erf", "one"}, "shifted");
  w.Node("Mul", {"x", "shifted"}, "product");
  w.Node("Mul", {"product", "half"}, "gelu");
  w.Constant<float>("root_of_six", {}, {2.449489743F});
  w.Node("Div", {"gelu", "root_of_six"}, "scores");
  w.Node("Softmax", {"scores"}, "y");
  Graph graph = Must(w.Build());
  RunPasses(graph);
  ASSERT_EQ(graph.nodes.size(), 2U);
  EXPECT_EQ(std::get<Activation>(graph.nodes[0].operation).function, sim::Function::kGeluErf);
  EXPECT_FLOAT_EQ(std::get<Softmax>(graph.nodes[1].operation).scale, 0.40824829F);
}

template <typename T>
ModelWriter LessOf(const std::vector<T>& a, const std::vector<T>& b) {
  ModelWriter w;
  w.Constant<T>("a", {2}, a);
  w.Constant<T>("b", {2}, b);
  w.Constant<float>("one", {}, {1});
  w.Constant<float>("zero", {}, {0});
  w.Node("Less", {"a", "b"}, "less");
  w.Node("Where", {"less", "one", "zero"}, "y");
  return w;
}

TEST(Comparison, OfSmallIntegersIsThatOfTheirNumbers) {
  EXPECT_THAT(LessOf<int8_t>({-128, 3}, {127, 2}).Folded<float>(), ElementsAre(1, 0));
  EXPECT_THAT(LessOf<uint8_t>({255, 3}, {1, 200}).Folded<float>(), ElementsAre(0, 1));
}

TEST(Comparison, OfWhatTheCoreCannotCompareIsRefused) {
  EXPECT_THAT(LessOf<double>({1, 2}, {2, 1}).Refusal(),
              AllOf(HasSubstr("Less 'the_less'"), HasSubstr("'a' is float64")));
  EXPECT_THAT(LessOf<int16_t>({1, 2}, {2, 1}).Refusal(), HasSubstr("'a' is int16"));
  EXPECT_THAT(LessOf<uint64_t>({1, 2}, {2, 1}).Refusal(), HasSubstr("'a' is uint64"));
}

// Equal but for their names.
TEST(HostCalls, OfTwoNodesAreTwo) {
  ModelWriter w;
  w.Input("x", {2, 5});
  w.Node("ArgMax", {"x"}, "y", {{"axis", int64_t{1}}});
  w.Node("ArgMax", {"x"}, "z", {{"axis", int64_t{1}}});
  const Graph graph = Must(w.Build({"y", "z"}));
  ASSERT_EQ(graph.nodes.size(), 2U);
  EXPECT_NE(std::get<HostCall>(graph.nodes[0].operation).call,
            std::get<HostCall>(graph.nodes[1].operation).call);
}

}  // namespace
}  // namespace nrtd::compiler
