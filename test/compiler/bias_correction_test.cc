// SPDX-License-Identifier: Apache-2.0
#include "compiler/bias_correction.h"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "compiler/evaluate.h"
#include "compiler/passes/passes.h"
#include "test/compiler/cases.h"

namespace nrtd::compiler {
namespace {

using ::testing::HasSubstr;

constexpr size_t kSamples = 5;

// Numbers that bfloat16 has to round, all of one sign, so that what rounding weights changes does
// not cancel out.
std::vector<float> Numbers(size_t count, size_t seed) {
  std::vector<float> numbers(count);
  for (size_t i = 0; i < count; ++i) {
    const auto x = static_cast<float>(i * 37 + seed * 101);
    numbers[i] = 0.75F + 0.5F * std::sin(x);
  }
  return numbers;
}

// The output's mean over the samples, channel by channel.
std::vector<double> Means(const Graph& graph, const std::vector<Sample>& samples,
                          size_t dimension) {
  const Value& output = graph.at(graph.outputs[0]);
  const auto channels = static_cast<size_t>(output.shape[dimension]);
  const auto run = static_cast<size_t>(DenseStrides(output.shape)[dimension]);
  std::vector<double> means(channels, 0);
  for (const Sample& sample : samples) {
    std::vector<ByteVector> values(graph.values.size());
    for (ValueId input : graph.inputs) values[input] = Must(ElementsOf(sample, graph.at(input)));
    for (const Node& node : graph.nodes) {
      std::vector<ByteSpan> inputs;
      for (ValueId id : node.inputs) inputs.emplace_back(values[id]);
      values[node.output] = Must(Must(Evaluator::Make(graph, {&node}))->Run(inputs)).at(0);
    }
    const ByteVector& result = values[graph.outputs[0]];
    for (size_t e = 0; e < output.Elements(); ++e)
      means[e / run % channels] += LoadAt<float>(result, e * sizeof(float)) * channels /
                                   static_cast<double>(output.Elements() * samples.size());
  }
  return means;
}

double Distance(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::fabs(a[i] - b[i]));
  return largest;
}

std::vector<Sample> SamplesOf(const Graph& graph) {
  std::vector<Sample> samples(kSamples);
  for (size_t s = 0; s < kSamples; ++s) {
    samples[s].origin = fmt::format("sample {}", s);
    for (ValueId id : graph.inputs) {
      const Value& input = graph.at(id);
      samples[s].arrays[input.name] = {input.dtype, input.shape,
                                       BytesOf(Numbers(input.Elements(), s + 1))};
    }
  }
  return samples;
}

Graph WithCasts(Graph graph) {
  CastProducts(graph);
  return graph;
}

// Products behind each other, with and without a bias, the first with an activation.
Graph TwoProducts() {
  GraphWriter w;
  const ValueId x = w.Input("x", {3, 64});
  const ValueId first = w.Constant("first", {64, 32}, Numbers(64 * 32, 20));
  const ValueId bias = w.Constant("bias", {32}, Numbers(32, 21));
  const ValueId second = w.Constant("second", {32, 8}, Numbers(32 * 8, 22));
  const ValueId hidden = w.Node("hidden", MatMul{.fused = sim::Fused{sim::Function::kTanh, 0, 0}},
                                {x, first, bias}, {3, 32});
  return w.Finish({w.Node("y", MatMul{}, {hidden, second}, {3, 8})});
}

// Corrects `nodes` of them, after which the output's means are those of float32.
void ExpectMeansOfFloat32(const Graph& exact, size_t dimension, size_t nodes,
                          const std::string& what) {
  const std::vector<Sample> samples = SamplesOf(exact);
  const Graph rounded = WithCasts(exact);
  Graph corrected = rounded;
  EXPECT_EQ(Must(CorrectBiases(corrected, samples)), nodes) << what;
  EXPECT_TRUE(corrected.Check()) << what;
  const std::vector<double> wanted = Means(exact, samples, dimension);
  const double before = Distance(Means(rounded, samples, dimension), wanted);
  EXPECT_GT(before, 1e-4) << what;
  EXPECT_LT(Distance(Means(corrected, samples, dimension), wanted), before / 50) << what;
}

TEST(CorrectBiases, MeansOverTheSamplesAreThoseOfFloat32) {
  ExpectMeansOfFloat32(TwoProducts(), 1, 2, "two products");
}

TEST(CorrectBiases, ChannelsAreWhereTheyLie) {
  struct Form {
    std::string what;
    Operation operation;
    Shape x;
    Shape weights;
    Shape y;
    size_t channel_dimension;
  };
  const Form forms[] = {
      {"conv", Conv{}, {2, 16, 6, 5}, {3, 16, 3, 3}, {2, 3, 4, 3}, 1},
      {"channels last", Conv{.channels_last = true}, {2, 6, 5, 16}, {3, 16, 3, 3}, {2, 4, 3, 3}, 3},
      {"groups", Conv{.groups = 2}, {1, 16, 6, 5}, {4, 8, 3, 3}, {1, 4, 4, 3}, 1},
      {"depthwise", Conv{.groups = 16}, {1, 16, 6, 5}, {16, 1, 3, 3}, {1, 16, 4, 3}, 1},
      {"one dimension", Conv{}, {2, 16, 9}, {5, 16, 3}, {2, 5, 7}, 1},
      {"product", MatMul{}, {3, 64}, {64, 5}, {3, 5}, 1},
      {"transposed weights", MatMul{.transpose_b = true}, {3, 64}, {5, 64}, {3, 5}, 1},
      {"transposed input", MatMul{.transpose_a = true}, {64, 3}, {64, 5}, {3, 5}, 1},
      {"rows of batches", MatMul{}, {2, 3, 64}, {64, 5}, {2, 3, 5}, 2},
      {"weights of batches", MatMul{}, {2, 3, 64}, {2, 64, 5}, {2, 3, 5}, 2},
      {"vector", MatMul{}, {64}, {64, 5}, {5}, 0},
  };
  for (const Form& form : forms) {
    GraphWriter w;
    const ValueId x = w.Input("x", form.x);
    const auto count = static_cast<size_t>(*ElementCount(form.weights));
    const ValueId weights = w.Constant("weights", form.weights, Numbers(count, 30));
    const ValueId y = w.Node("y", form.operation, {x, weights}, form.y);
    ExpectMeansOfFloat32(w.Finish({y}), form.channel_dimension, 1, form.what);
  }
}

TEST(CorrectBiases, TellsHowFarItIs) {
  Graph graph = WithCasts(TwoProducts());
  std::vector<std::pair<size_t, size_t>> heard;
  Must(CorrectBiases(graph, SamplesOf(graph),
                     [&](size_t done, size_t nodes) { heard.emplace_back(done, nodes); }));
  EXPECT_THAT(heard, ::testing::ElementsAre(std::pair(1, 2), std::pair(2, 2)));
}

TEST(CorrectBiases, ABiasThatTwoNodesShareBecomesOneForEach) {
  GraphWriter w;
  const ValueId x = w.Input("x", {3, 16});
  const ValueId bias = w.Constant("bias", {8}, Numbers(8, 40));
  std::vector<ValueId> outputs;
  for (size_t i = 0; i < 2; ++i) {
    const ValueId weights = w.Constant(fmt::format("w{}", i), {16, 8}, Numbers(16 * 8, 41 + i));
    outputs.push_back(w.Node(fmt::format("y{}", i), MatMul{}, {x, weights, bias}, {3, 8}));
  }
  Graph graph = WithCasts(w.Finish(outputs));
  EXPECT_EQ(Must(CorrectBiases(graph, SamplesOf(graph))), 2U);
  EXPECT_NE(graph.nodes[0].inputs[2], graph.nodes[1].inputs[2]);
  EXPECT_EQ(FloatsOf(graph.at(bias)), Numbers(8, 40));
}

// What is added may be another layer's result, or differ from row to row.
TEST(CorrectBiases, BiasesThatAreNoNumberAChannelStay) {
  GraphWriter w;
  const ValueId x = w.Input("x", {8, 8});
  const ValueId weights = w.Constant("weights", {8, 8}, Numbers(64, 50));
  const ValueId rows = w.Constant("rows", {8, 1}, Numbers(8, 51));
  const ValueId a = w.Node("a", MatMul{}, {x, weights, x}, {8, 8});
  const ValueId b = w.Node("b", MatMul{}, {a, weights, rows}, {8, 8});
  const ValueId y = w.Node("y", MatMul{}, {b, weights}, {8, 8});
  Graph graph = WithCasts(w.Finish({y}));
  EXPECT_EQ(Must(CorrectBiases(graph, SamplesOf(graph))), 1U);
  EXPECT_EQ(graph.nodes[0].inputs[2], x);
  EXPECT_EQ(graph.nodes[1].inputs[2], rows);
  EXPECT_EQ(graph.nodes[2].inputs.size(), 3U);
}

TEST(CorrectBiases, ExactProductsStay) {
  GraphWriter w;
  const ValueId x = w.Input("x", {4, 8});
  const ValueId weights = w.Constant("weights", {8, 8}, Numbers(64, 60));
  const ValueId a = w.Node("a", MatMul{.exact = true}, {x, weights}, {4, 8});
  Graph graph = WithCasts(w.Finish({w.Node("y", MatMul{}, {a, weights}, {4, 8})}));
  EXPECT_EQ(Must(CorrectBiases(graph, SamplesOf(graph))), 1U);
  EXPECT_EQ(graph.nodes[0].inputs.size(), 2U);
}

TEST(CorrectBiases, RefusesWhereThereIsNothingToCorrect) {
  GraphWriter w;
  const ValueId a = w.Input("a", {4, 8});
  const ValueId b = w.Input("b", {8, 4});
  Graph graph = WithCasts(w.Finish({w.Node("y", MatMul{}, {a, b}, {4, 4})}));
  EXPECT_THAT(CorrectBiases(graph, SamplesOf(graph)).error().text,
              HasSubstr("samples correct biases, and there is none to correct"));
}

TEST(CorrectBiases, RefusesSamplesThatDoNotFit) {
  Graph graph = WithCasts(TwoProducts());
  std::vector<Sample> samples = SamplesOf(graph);
  samples[3].arrays.clear();
  EXPECT_THAT(CorrectBiases(graph, samples).error().text,
              HasSubstr("sample 3: no x.npy for input 'x'"));
}

TEST(CorrectBiases, RefusesSamplesThatLeadToNumbersThatAreNotFinite) {
  Graph graph = WithCasts(TwoProducts());
  std::vector<Sample> samples = SamplesOf(graph);
  StoreAt(MutableByteSpan(samples[1].arrays.at("x").data), 0,
          std::numeric_limits<float>::infinity());
  EXPECT_THAT(CorrectBiases(graph, samples).error().text,
              HasSubstr("hidden: the samples lead to numbers that are not finite"));
}

// What is never to be chosen has a bias of -inf.
TEST(CorrectBiases, ChannelsOfAnInfiniteBiasStay) {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  GraphWriter w;
  const ValueId x = w.Input("x", {3, 64});
  const ValueId weights = w.Constant("weights", {64, 3}, Numbers(64 * 3, 70));
  const ValueId bias = w.Constant("bias", {3}, {1, kNever, 1});
  Graph graph = WithCasts(w.Finish({w.Node("y", MatMul{}, {x, weights, bias}, {3, 3})}));
  EXPECT_EQ(Must(CorrectBiases(graph, SamplesOf(graph))), 1U);
  const std::vector<float> corrected = FloatsOf(graph.at(graph.nodes[0].inputs[2]));
  EXPECT_NE(corrected[0], 1);
  EXPECT_EQ(corrected[1], kNever);
}

TEST(CorrectBiases, NamesTheSampleThatTheCoreWouldRefuse) {
  GraphWriter w;
  const ValueId ids = w.Input("ids", {3});
  w.graph.values[ids].dtype = DType::kInt32;
  const ValueId table = w.Constant("table", {10, 8}, Numbers(80, 80));
  const ValueId weights = w.Constant("weights", {8, 4}, Numbers(32, 81));
  const ValueId rows = w.Node("rows", Gather{0}, {table, ids}, {3, 8});
  Graph graph = WithCasts(w.Finish({w.Node("y", MatMul{}, {rows, weights}, {3, 4})}));
  const auto sample = [](int32_t last) {
    ByteVector bytes(3 * sizeof(int32_t));
    StoreAt(MutableByteSpan(bytes), 2 * sizeof(int32_t), last);
    return Sample{fmt::format("sample of {}", last), {{"ids", {DType::kInt32, {3}, bytes}}}};
  };
  const std::vector<Sample> samples{sample(9), sample(10)};
  EXPECT_THAT(CorrectBiases(graph, samples).error().text,
              HasSubstr("sample of 10: rows: the core refuses these inputs; is an index outside"));
}

}  // namespace
}  // namespace nrtd::compiler
