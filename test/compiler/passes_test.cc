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
  const ValueId p = w.Constant("p", {2});
  const ValueId y = w.Node("y", Activation{sim::Function::kTanh, 0, 0}, {p}, {2});
  const ValueId z = w.Node("z", Softmax{0, 1}, {p}, {2});
  Graph graph = w.Finish({y, z});
  FoldConstants(graph);
  EXPECT_THAT(NodeNames(graph), ElementsAre("y", "z"));
  EXPECT_FALSE(graph.at(y).IsConstant());
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
