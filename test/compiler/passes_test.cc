// SPDX-License-Identifier: Apache-2.0
#include "compiler/passes/passes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/compiler/cases.h"

namespace nrtd::compiler {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> NodeNames(const Graph& graph) {
  std::vector<std::string> names;
  for (const Node& node : graph.nodes) names.push_back(node.name);
  return names;
}

TEST(FoldConstants, ComputesChainsOfConstants) {
  GraphWriter w;
  const ValueId x = w.Input("x", {2, 3});
  const ValueId p = w.Constant("p", {3}, {1, -5, 2});
  const ValueId q = w.Constant("q", {2, 1}, {1, 10});
  const ValueId sum = w.Node("sum", kAdd, {p, q}, {2, 3});
  const ValueId relu = w.Node("relu", kRelu, {sum}, {2, 3});
  const ValueId flat = w.Node("flat", Reshape{}, {relu}, {6});
  const ValueId back = w.Node("back", Reshape{}, {flat}, {2, 3});
  const ValueId y = w.Node("y", kAdd, {x, back}, {2, 3});
  Graph graph = w.Finish({y});
  FoldConstants(graph);
  EXPECT_THAT(NodeNames(graph), ElementsAre("y"));
  EXPECT_THAT(FloatsOf(graph.at(back)), ElementsAre(2, 0, 3, 11, 5, 12));
  EXPECT_TRUE(graph.Check());
}

TEST(FoldConstants, ScalesWeights) {
  GraphWriter w;
  const ValueId p = w.Constant("p", {2}, {3, -4});
  const ValueId y = w.Node("y", Activation{sim::Function::kLinear, 0.5F, 1}, {p}, {2});
  Graph graph = w.Finish({y});
  FoldConstants(graph);
  EXPECT_THAT(FloatsOf(graph.at(y)), ElementsAre(2.5F, -1));
}

TEST(FoldConstants, LeavesToTheCoreWhatItCannotCompute) {
  GraphWriter w;
  const ValueId p = w.Constant("p", {1});
  const ValueId q = w.Constant("q", {1024, 1024});
  const Shape huge{2, 1024, 1024};
  Rearrange repeat{{{0, huge, 0, {0, 0, 0}, 0, DenseStrides(huge)}}};
  const ValueId y = w.Node("y", std::move(repeat), {p}, huge);
  const ValueId z = w.Node("z", kAdd, {q, y}, huge);
  Graph graph = w.Finish({y, z});
  FoldConstants(graph);
  EXPECT_THAT(NodeNames(graph), ElementsAre("y", "z"));
  EXPECT_FALSE(graph.at(y).IsConstant());
}

// Kernels trust that the instruction was checked.
TEST(FoldConstants, LeavesWhatTheInstructionSetRefuses) {
  GraphWriter w;
  const ValueId p = w.Constant("p", {2});
  w.graph.values[p].dtype = DType::kFloat64;
  w.graph.values[p].data->resize(2 * sizeof(double));
  const ValueId y = w.Node("y", Compare{sim::Comparison::kLess}, {p, p}, {2});
  w.graph.values[y].dtype = DType::kBool;
  Graph graph = w.Finish({y});
  FoldConstants(graph);
  EXPECT_THAT(NodeNames(graph), ElementsAre("y"));
}

// Three inputs and two constants are no product yet.
TEST(FuseBias, LeavesWhatIsNoProduct) {
  GraphWriter w;
  const ValueId condition = w.Input("condition", {2});
  const ValueId x = w.Input("x", {2});
  const ValueId other = w.Constant("other", {2}, {1, 2});
  const ValueId chosen = w.Node("chosen", Select{}, {condition, x, other}, {2});
  const ValueId addend = w.Constant("addend", {2}, {3, 4});
  const ValueId y = w.Node("y", kAdd, {chosen, addend}, {2});
  Graph graph = w.Finish({y});
  FuseBias(graph);
  EXPECT_THAT(NodeNames(graph), ElementsAre("chosen", "y"));
}

// The weights of x w k + b are w k; a factor that somebody else reads the product without, stays.
TEST(FuseScale, ScalesWeightsAndBias) {
  for (const bool shared : {false, true}) {
    GraphWriter w;
    const ValueId x = w.Input("x", {1, 2});
    const ValueId weights = w.Constant("weights", {2, 2}, {1, 2, 3, 4});
    const ValueId bias = w.Constant("bias", {2}, {5, 6});
    const ValueId product = w.Node("product", MatMul{}, {x, weights, bias}, {1, 2});
    const ValueId factors = w.Constant("factors", {2}, {10, 100});
    const ValueId y =
        w.Node("y", Binary{sim::BinaryFunction::kMultiply}, {product, factors}, {1, 2});
    Graph graph = w.Finish(shared ? std::vector{y, product} : std::vector{y});
    FuseScale(graph);
    if (shared) {
      EXPECT_THAT(NodeNames(graph), ElementsAre("product", "y"));
      continue;
    }
    ASSERT_THAT(NodeNames(graph), ElementsAre("product"));
    EXPECT_THAT(FloatsOf(graph.at(graph.nodes[0].inputs[1])), ElementsAre(10, 200, 30, 400));
    EXPECT_THAT(FloatsOf(graph.at(graph.nodes[0].inputs[2])), ElementsAre(50, 600));
    EXPECT_EQ(graph.nodes[0].output, y);
    EXPECT_TRUE(graph.Check());
  }
}

TEST(FuseActivations, LeavesOneWhoseInputIsReadElsewhere) {
  GraphWriter w;
  const ValueId x = w.Input("x", {1, 2});
  const ValueId weights = w.Constant("weights", {2, 2});
  const ValueId product = w.Node("product", MatMul{}, {x, weights}, {1, 2});
  const ValueId y = w.Node("y", kRelu, {product}, {1, 2});
  const ValueId z = w.Node("z", kAdd, {product, y}, {1, 2});
  Graph graph = w.Finish({z});
  FuseActivations(graph);
  EXPECT_THAT(NodeNames(graph), ElementsAre("product", "y", "z"));
  EXPECT_FALSE(std::get<MatMul>(graph.nodes[0].operation).fused);
}

// Almost: a factor of 0.4 is no GELU, another x in the variance is no layer normalisation.
TEST(Recognise, LeavesWhatIsOnlySimilar) {
  const auto line = [](float alpha, float beta) {
    return Activation{sim::Function::kLinear, alpha, beta};
  };
  GraphWriter w;
  const ValueId x = w.Input("x", {4});
  const ValueId scaled = w.Node("scaled", line(0.70710678F, 0), {x}, {4});
  const ValueId erf = w.Node("erf", Activation{sim::Function::kErf, 0, 0}, {scaled}, {4});
  const ValueId shifted = w.Node("shifted", line(1, 1), {erf}, {4});
  const ValueId product =
      w.Node("product", Binary{sim::BinaryFunction::kMultiply}, {x, shifted}, {4});
  const ValueId y = w.Node("y", line(0.4F, 0), {product}, {4});
  Graph graph = w.Finish({y});
  const size_t before = graph.nodes.size();
  RecogniseGelu(graph);
  EXPECT_EQ(graph.nodes.size(), before);
  graph.nodes.back().operation = line(0.5F, 0);
  RecogniseGelu(graph);
  EXPECT_EQ(graph.nodes.size(), 1U);
}

// One number has no last dimension.
TEST(RecogniseLayerNorm, LeavesProductsOfScalars) {
  GraphWriter w;
  const ValueId x = w.Input("x", {});
  const ValueId factor = w.Constant("factor", {}, {3});
  const ValueId one = w.Constant("one", {1}, {1});
  const ValueId scaled = w.Node("scaled", Binary{sim::BinaryFunction::kMultiply}, {x, factor}, {});
  const ValueId y = w.Node("y", kAdd, {scaled, factor}, {});
  const ValueId z = w.Node("z", Binary{sim::BinaryFunction::kMultiply}, {y, one}, {1});
  Graph graph = w.Finish({z});
  RecogniseLayerNorm(graph);
  EXPECT_THAT(NodeNames(graph), ElementsAre("scaled", "y", "z"));
}

TEST(FuseScale, LeavesAProductOfOneColumnWhoseBiasIsAScalar) {
  GraphWriter w;
  const ValueId x = w.Input("x", {2, 3});
  const ValueId product = w.Node(
      "product", MatMul{}, {x, w.Constant("weights", {3, 1}), w.Constant("bias", {})}, {2, 1});
  const ValueId y = w.Node("y", Activation{sim::Function::kLinear, 2, 0}, {product}, {2, 1});
  Graph graph = w.Finish({y});
  FuseScale(graph);
  EXPECT_THAT(NodeNames(graph), ElementsAre("product", "y"));
}

TEST(FuseBias, LeavesAProductOfOneColumnWhoseBiasIsAScalar) {
  GraphWriter w;
  const ValueId x = w.Input("x", {2, 3});
  const ValueId product = w.Node(
      "product", MatMul{}, {x, w.Constant("weights", {3, 1}), w.Constant("bias", {})}, {2, 1});
  const ValueId y = w.Node("y", kAdd, {product, w.Constant("more", {1})}, {2, 1});
  Graph graph = w.Finish({y});
  FuseBias(graph);
  EXPECT_THAT(NodeNames(graph), ElementsAre("product", "y"));
}

TEST(RemoveDeadCode, RemovesWhatNoOutputNeedsAndKeepsInputs) {
  GraphWriter w;
  const ValueId x = w.Input("x", {2});
  const ValueId spare = w.Input("spare", {2});
  const ValueId dead = w.Node("dead", kRelu, {spare}, {2});
  w.Node("deader", kRelu, {dead}, {2});
  const ValueId y = w.Node("y", kRelu, {x}, {2});
  Graph graph = w.Finish({y});
  RemoveDeadCode(graph);
  EXPECT_THAT(NodeNames(graph), ElementsAre("y"));
  EXPECT_THAT(graph.inputs, ElementsAre(x, spare));
}

struct Biased {
  GraphWriter w;
  ValueId x = w.Input("x", {2, 4});
  ValueId weights = w.Constant("weights", {4, 3});
  ValueId product = w.Node("product", MatMul{}, {x, weights}, {2, 3});
};

TEST(FuseBias, JoinsAProductAndItsAddition) {
  Biased b;
  const ValueId bias = b.w.Constant("bias", {3});
  const ValueId y = b.w.Node("sum", kAdd, {bias, b.product}, {2, 3});
  Graph graph = b.w.Finish({y});
  FuseBias(graph);
  ASSERT_THAT(NodeNames(graph), ElementsAre("product"));
  EXPECT_THAT(graph.nodes[0].inputs, ElementsAre(b.x, b.weights, bias));
  EXPECT_EQ(graph.nodes[0].output, y);
  EXPECT_TRUE(graph.Check());
}

TEST(FuseBias, LeavesAProductThatIsReadElsewhere) {
  Biased b;
  const ValueId bias = b.w.Constant("bias", {3});
  const ValueId y = b.w.Node("sum", kAdd, {b.product, bias}, {2, 3});
  Graph graph = b.w.Finish({y, b.product});
  FuseBias(graph);
  EXPECT_THAT(NodeNames(graph), ElementsAre("product", "sum"));
}

TEST(FuseBias, LeavesAnAddendThatIsMadeLater) {
  Biased b;
  const ValueId late = b.w.Node("late", kRelu, {b.x}, {2, 4});
  const ValueId other = b.w.Node("other", MatMul{}, {late, b.weights}, {2, 3});
  const ValueId y = b.w.Node("sum", kAdd, {b.product, other}, {2, 3});
  Graph graph = b.w.Finish({y});
  FuseBias(graph);
  // The other way round is possible: the first product is there before the second.
  ASSERT_THAT(NodeNames(graph), ElementsAre("product", "late", "other"));
  EXPECT_THAT(graph.nodes[2].inputs, ElementsAre(late, b.weights, b.product));
  EXPECT_TRUE(graph.Check());
}

TEST(FuseBias, LeavesAnAddendThatMakesTheProductLarger) {
  Biased b;
  const ValueId bias = b.w.Constant("bias", {5, 1, 1});
  const ValueId y = b.w.Node("sum", kAdd, {b.product, bias}, {5, 2, 3});
  Graph graph = b.w.Finish({y});
  FuseBias(graph);
  EXPECT_EQ(graph.nodes.size(), 2U);
}

TEST(FuseBias, TakesOnlyChannelConstantsIntoAConvolution) {
  for (const Shape& shape : {Shape{1, 3, 1, 1}, Shape{3, 1, 1}, Shape{3}, Shape{1, 1, 1, 3}}) {
    GraphWriter w;
    const ValueId x = w.Input("x", {1, 2, 3, 3});
    const ValueId weights = w.Constant("weights", {3, 2, 1, 1});
    const ValueId conv = w.Node("conv", Conv{}, {x, weights}, {1, 3, 3, 3});
    const ValueId bias = w.Constant("bias", shape);
    Graph graph = w.Finish({w.Node("sum", kAdd, {conv, bias}, {1, 3, 3, 3})});
    FuseBias(graph);
    EXPECT_TRUE(graph.Check());
    const bool is_channel = shape == Shape{1, 3, 1, 1} || shape == Shape{3, 1, 1};
    EXPECT_EQ(graph.nodes.size(), is_channel ? 1U : 2U) << ShapeText(shape);
    if (is_channel) {
      EXPECT_EQ(graph.at(graph.nodes[0].inputs[2]).shape, Shape{3});
    }
  }
}

TEST(PlaceActivations, PutsThemBehindTheirProducers) {
  GraphWriter w;
  const ValueId x = w.Input("x", {2});
  const ValueId a = w.Node("a", kAdd, {x, x}, {2});
  const ValueId b = w.Node("b", kAdd, {a, x}, {2});
  const ValueId c = w.Node("c", Softmax{0, 1}, {b}, {2});
  const ValueId d = w.Node("d", kRelu, {a}, {2});
  const ValueId e = w.Node("e", kRelu, {d}, {2});
  const ValueId f = w.Node("f", kRelu, {a}, {2});
  Graph graph = w.Finish({c, e, f});
  PlaceActivations(graph);
  EXPECT_THAT(NodeNames(graph), ElementsAre("a", "d", "e", "f", "b", "c"));
  EXPECT_TRUE(graph.Check());
  PlaceActivations(graph);
  EXPECT_THAT(NodeNames(graph), ElementsAre("a", "d", "e", "f", "b", "c"));
}

// A transpose of [N,C,1,1] has the strides of its input.
TEST(PutChannelsLast, ATransposeOfOnePixelIsNoBlock) {
  struct Turned {
    Shape from, to, strides;
  };
  const Turned kTurned[] = {{{1, 3, 1, 1}, {1, 1, 1, 3}, {3, 1, 1, 1}},
                            {{1, 3, 1, 2}, {1, 1, 3, 2}, {6, 2, 2, 1}}};
  for (const Turned& turned : kTurned) {
    GraphWriter w;
    const ValueId x = w.Input("x", {1, 16, 64, 64});
    // What makes it worth it to put channels last.
    const ValueId large =
        w.Node("large", Conv{}, {x, w.Constant("weights", {32, 16, 3, 3})}, {1, 32, 64, 64});
    const ValueId pixel = w.Input("pixel", turned.from);
    const ValueId conv =
        w.Node("conv", Conv{}, {pixel, w.Constant("ones", {3, 3, 1, 1})}, turned.from);
    const Rearrange transpose{{{0, turned.to, 0, turned.strides, 0, DenseStrides(turned.to)}}};
    const ValueId y = w.Node("y", transpose, {conv}, turned.to);
    Graph graph = w.Finish({large, y});
    PutChannelsLast(graph);
    EXPECT_TRUE(graph.Check());
    const auto kept = std::find_if(graph.nodes.begin(), graph.nodes.end(),
                                   [](const Node& node) { return node.name == "y"; });
    ASSERT_NE(kept, graph.nodes.end());
    EXPECT_EQ(kept->inputs[0], conv) << ShapeText(turned.from);
    EXPECT_EQ(kept->output, y);
    EXPECT_EQ(std::get<Rearrange>(kept->operation).parts[0].dims, turned.to);
  }
}

TEST(GraphCheck, FindsTheMistakesOfAPass) {
  Biased b;
  Graph good = b.w.Finish({b.product});
  Graph unordered = good;
  unordered.nodes[0].inputs[0] = b.product;
  EXPECT_FALSE(unordered.Check());
  Graph twice = good;
  twice.nodes.push_back(twice.nodes[0]);
  EXPECT_FALSE(twice.Check());
  Graph lost = good;
  lost.nodes.clear();
  EXPECT_FALSE(lost.Check());
  Graph shrunk = good;
  shrunk.values[b.weights].data->resize(4);
  EXPECT_FALSE(shrunk.Check());
}

}  // namespace
}  // namespace nrtd::compiler
