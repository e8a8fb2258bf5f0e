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

// Models that ask for more than there can be must end with an error.
TEST(Sizes, BeyondTheLimitAreRefusedByName) {
  constexpr int64_t kHuge = int64_t{1} << 40;
  ModelWriter input;
  input.Input("x", {kHuge, kHuge});
  input.Node("Relu", {"x"}, "y");
  EXPECT_THAT(input.Refusal(), AllOf(HasSubstr("tensor 'x'"), HasSubstr("2147483648")));
  ModelWriter resize;
  resize.Input("x", {1, 1, 2, 2});
  resize.Type("y", {1, 1, kHuge, kHuge});
  resize.Constant<float>("s", {4}, {1, 1, 1e12F, 1e12F});
  resize.Node("Resize", {"x", "", "s"}, "y");
  EXPECT_THAT(resize.Refusal(), AllOf(HasSubstr("Resize 'the_y'"), HasSubstr("tensor 'y'")));
  ModelWriter wide;
  wide.Input("x", {1, 1, 1, 1 << 15});
  wide.Type("y", {1, 1, 1, 1 << 15});
  wide.Constant<float>("s", {4}, {1, 1, 1, 1.00001F});
  wide.Node("Resize", {"x", "", "s"}, "y", {{"mode", "linear"}});
  EXPECT_THAT(wide.Refusal(), AllOf(HasSubstr("Resize 'the_y'"), HasSubstr("weights")));
  for (const int64_t repeats : {int64_t{1} << 31, (int64_t{1} << 62) + 1}) {
    ModelWriter tile;
    tile.Input("x", {2, 2});
    tile.Constant<int64_t>("r", {2}, {repeats, 2});
    tile.Node("Tile", {"x", "r"}, "y");
    EXPECT_THAT(tile.Refusal(), HasSubstr("'the_y'")) << repeats;
  }
  ModelWriter expand;
  expand.Constant<float>("x", {1}, {1});
  expand.Constant<int64_t>("s", {3}, {kHuge, kHuge, kHuge});
  expand.Node("Expand", {"x", "s"}, "y");
  EXPECT_THAT(expand.Refusal(), HasSubstr("tensor 'y'"));
  for (const int64_t block : {int64_t{1} << 32, int64_t{1} << 16}) {
    for (const char* op : {"DepthToSpace", "SpaceToDepth"}) {
      ModelWriter blocks;
      blocks.Input("x", {1, 4, 4, 4});
      blocks.Node(op, {"x"}, "y", {{"blocksize", block}});
      EXPECT_THAT(blocks.Refusal(), HasSubstr("do not fit shape")) << block;
    }
  }
  for (const int64_t stride : {int64_t{1} << 62, int64_t{1} << 29}) {
    ModelWriter up;
    up.Input("x", {1, 1, 1 << 10});
    up.Type("y", {1, 1, 4});
    up.Constant<float>("w", {1, 1, 1}, {1});
    up.Node("ConvTranspose", {"x", "w"}, "y", {{"strides", Shape{stride}}});
    EXPECT_THAT(up.Refusal(), HasSubstr("ConvTranspose 'the_y'")) << stride;
  }
  ModelWriter pad;
  pad.Input("x", {2, 2});
  pad.Constant<int64_t>("p", {4}, {INT64_MAX, 0, INT64_MAX, INT64_MIN});
  pad.Node("Pad", {"x", "p"}, "y");
  EXPECT_THAT(pad.Refusal(), HasSubstr("Pad 'the_y'"));
  ModelWriter split;
  split.Input("x", {4});
  split.Constant<int64_t>("n", {1}, {INT64_MAX});
  split.Node("Split", {"x", "n"}, "y");
  EXPECT_THAT(split.Refusal(), HasSubstr("Split 'the_y'"));
}

TEST(Slice, OfOneElementMayStepAnyDistance) {
  for (const int64_t step : {INT64_MAX, INT64_MIN}) {
    ModelWriter w;
    w.Constant<float>("x", {2, 3}, {1, 2, 3, 4, 5, 6});
    w.Constant<int64_t>("start", {1}, {1});
    w.Constant<int64_t>("end", {1}, {step > 0 ? INT64_MAX : INT64_MIN});
    w.Constant<int64_t>("axis", {1}, {0});
    w.Constant<int64_t>("step", {1}, {step});
    w.Node("Slice", {"x", "start", "end", "axis", "step"}, "y");
    EXPECT_THAT(w.Folded<float>(), ElementsAre(4, 5, 6)) << step;
  }
}

TEST(Range, EndsWhereTheNumbersDo) {
  ModelWriter w;
  w.Constant<int64_t>("start", {}, {INT64_MAX - 3});
  w.Constant<int64_t>("limit", {}, {INT64_MAX});
  w.Constant<int64_t>("delta", {}, {2});
  w.Node("Range", {"start", "limit", "delta"}, "y");
  EXPECT_THAT(w.Folded<int64_t>(), ElementsAre(INT64_MAX - 3, INT64_MAX - 1));
}

std::vector<float> Resized(float scale, int64_t to, const std::string& rounding) {
  ModelWriter w;
  w.Constant<float>("x", {1, 3}, {1, 2, 3});
  w.Constant<float>("s", {2}, {1, scale});
  w.Type("y", {1, to});
  w.Node("Resize", {"x", "", "s"}, "y",
         {{"mode", std::string("nearest")},
          {"coordinate_transformation_mode", std::string("asymmetric")},
          {"nearest_mode", rounding}});
  return w.Folded<float>();
}

// 3 elements by 1.1 are 3, but not the same ones.
TEST(Resize, TakesTheScaleNotTheSizes) {
  EXPECT_THAT(Resized(1.1F, 3, "floor"), ElementsAre(1, 1, 2));
  EXPECT_THAT(Resized(1, 3, "floor"), ElementsAre(1, 2, 3));
  EXPECT_THAT(Resized(2, 6, "floor"), ElementsAre(1, 1, 2, 2, 3, 3));
  EXPECT_THAT(Resized(2.3F, 6, "floor"), ElementsAre(1, 1, 1, 2, 2, 3));
}

TEST(Resize, IsNotRounded) {
  ModelWriter w;
  w.Input("x", {1, 3});
  w.Constant<float>("s", {2}, {1, 1.7F});
  w.Type("y", {1, 5});
  w.Node("Resize", {"x", "", "s"}, "y", {{"mode", std::string("linear")}});
  Graph graph = Must(w.Build());
  CastProducts(graph);
  ASSERT_EQ(graph.nodes.size(), 1U);
  EXPECT_EQ(std::get<MatMul>(graph.nodes[0].operation).precision, sim::Precision::kFloat32);
}

TEST(Resize, AlongAnotherDimensionThanTheLastTwoIsRefused) {
  ModelWriter w;
  w.Input("x", {3, 2, 2});
  w.Constant<float>("s", {3}, {1.1F, 1, 2});
  w.Type("y", {3, 2, 4});
  w.Node("Resize", {"x", "", "s"}, "y", {{"mode", std::string("linear")}});
  EXPECT_THAT(w.Refusal(), HasSubstr("Resize 'the_y'"));
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

TEST(Cast, OfTypesThatTheCoreDoesNotHaveIsRefusedByName) {
  for (const DType dtype : {DType::kInt16, DType::kUInt16, DType::kUInt32, DType::kUInt64}) {
    for (const bool from : {true, false}) {
      ModelWriter w;
      w.Input("x", {2}, from ? dtype : DType::kFloat32);
      w.Type("y", {2}, from ? DType::kFloat32 : dtype);
      w.Node("Cast", {"x"}, "y");
      EXPECT_THAT(w.Refusal(),
                  AllOf(HasSubstr("Cast 'the_y'"), HasSubstr(std::string(DTypeName(dtype)))));
    }
  }
}

TEST(ConvTranspose, ABiasOfAnotherLengthIsRefusedByName) {
  ModelWriter w;
  w.Input("x", {1, 2, 3, 3});
  w.Type("y", {1, 2, 3, 3});
  w.Constant<float>("w", {2, 1, 1, 1}, {1, 2});
  w.Constant<float>("b", {3}, {1, 2, 3});
  w.Node("ConvTranspose", {"x", "w", "b"}, "y", {{"group", int64_t{2}}});
  EXPECT_THAT(w.Refusal(), AllOf(HasSubstr("ConvTranspose 'the_y'"), HasSubstr("2 output")));
}

TEST(Pool, AWindowOfPaddingAloneIsRefused) {
  for (const char* op : {"MaxPool", "AveragePool"}) {
    for (const bool images : {false, true}) {
      ModelWriter w;
      w.Input("x", images ? Shape{1, 1, 4, 3} : Shape{1, 1, 3});
      w.Type("y", images ? Shape{1, 1, 4, 3} : Shape{1, 1, 3});
      const Shape kernel = images ? Shape{1, 2} : Shape{2};
      const Shape strides = images ? Shape{1, 2} : Shape{2};
      const Shape pads = images ? Shape{0, 1, 0, 1} : Shape{1, 1};
      w.Node(op, {"x"}, "y",
             {{"kernel_shape", kernel},
              {"strides", strides},
              {"pads", pads},
              {"ceil_mode", int64_t{1}}});
      EXPECT_THAT(w.Refusal(), AllOf(HasSubstr("'the_y'"), HasSubstr("in the padding"))) << op;
    }
  }
}

TEST(Pow, OfIntegersToAFractionIsARoot) {
  ModelWriter w;
  w.Constant<int64_t>("x", {2}, {4, 9});
  w.Constant<float>("e", {}, {0.5F});
  w.Node("Pow", {"x", "e"}, "y");
  EXPECT_THAT(w.Folded<int64_t>(), ElementsAre(2, 3));
  ModelWriter runtime;
  runtime.Constant<int64_t>("x", {2}, {4, 9});
  runtime.Input("e", {2});
  runtime.Node("Pow", {"x", "e"}, "y");
  EXPECT_EQ(Must(runtime.Build()).nodes.size(), 2U);  // the power, and back to integers
}

TEST(Pow, OfIntegersToAWholeNumberIsExact) {
  ModelWriter w;
  w.Constant<int64_t>("x", {2}, {94906267, 3});
  w.Constant<float>("e", {}, {2});
  w.Node("Pow", {"x", "e"}, "y");
  EXPECT_THAT(w.Folded<int64_t>(), ElementsAre(94906267LL * 94906267LL, 9));
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
