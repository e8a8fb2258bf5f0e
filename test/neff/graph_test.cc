// SPDX-License-Identifier: Apache-2.0
#include "neff/graph.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "test/neff/matchers.h"
#include "test/neff/sample_neff.h"

namespace nrtd::neff {
namespace {

using nlohmann::json;

json SampleJson() {
  return json::parse(SerializeGraph(SampleContents().graph).value());
}

Result<Graph> Parse(const json& document, const Limits& limits = {}) {
  return ParseGraph(AsBytes(document.dump()), limits);
}

TEST(NeffGraph, SurvivesSerializeAndParse) {
  const Graph graph = SampleContents().graph;
  const auto parsed = Parse(SampleJson());
  ASSERT_THAT(parsed, Succeeds());
  EXPECT_EQ(*parsed, graph);
}

TEST(NeffGraph, KnowsWhatANodeIs) {
  const Graph graph = Parse(SampleJson()).value();
  ASSERT_EQ(graph.nodes.size(), 5u);
  EXPECT_EQ(graph.nodes[0].kind, NodeKind::kInput);
  EXPECT_EQ(graph.nodes[3].kind, NodeKind::kKelf);
  EXPECT_EQ(graph.nodes[3].kelf, "kelf-0.json");
  EXPECT_EQ(graph.nodes[4].kind, NodeKind::kHostFunction);
  EXPECT_EQ(graph.nodes[4].func_name, "softmax");
  EXPECT_EQ(graph.nodes[4].attrs.at("axis"), "1");
}

TEST(NeffGraph, KeepsInputsThatTheCompilerFoldedAwayButNotParameters) {
  const Graph graph = Parse(SampleJson()).value();
  ASSERT_EQ(graph.inputs.size(), 2u);
  EXPECT_EQ(graph.inputs[1].name, "unused:0");
  EXPECT_FALSE(graph.IsUsed(graph.inputs[1].tensor));
  EXPECT_TRUE(graph.IsUsed(graph.inputs[0].tensor));
  EXPECT_TRUE(graph.IsUsed(graph.outputs[0].tensor));
}

TEST(NeffGraph, WithoutASignatureNamesInputsAfterTheirNodes) {
  json document = SampleJson();
  document.erase("metadata");
  const auto graph = Parse(document);
  ASSERT_THAT(graph, Succeeds());
  EXPECT_EQ(graph->inputs, (std::vector<Port>{{"x", 0}, {"unused", 1}}));
}

TEST(NeffGraph, TakesInputsThatTheSignatureForgot) {
  json document = SampleJson();
  document["metadata"]["signatures"]["default"]["inputs"].erase("unused:0");
  EXPECT_EQ(Parse(document)->inputs, (std::vector<Port>{{"input:0", 0}, {"unused", 1}}));
}

TEST(NeffGraph, AcceptsTwoOutputsOfOneName) {
  json document = SampleJson();
  document["nodes"][3]["output_names"] = {"same", "same"};
  document["heads"] = {{3, 0, 0}, {3, 1, 0}};
  const auto graph = Parse(document);
  ASSERT_THAT(graph, Succeeds());
  EXPECT_EQ(graph->outputs, (std::vector<Port>{{"same", 3}, {"same", 4}}));
}

TEST(NeffGraph, WithoutOutputNamesUsesTheNodes) {
  json document = SampleJson();
  document["nodes"][3].erase("output_names");
  const auto graph = Parse(document);
  ASSERT_THAT(graph, Succeeds());
  EXPECT_EQ(graph->tensors[3].name, "sg_core");
  EXPECT_EQ(graph->tensors[4].name, "sg_core:1");
}

TEST(NeffGraph, OfHostNodesOnlyIsFine) {
  json document = SampleJson();
  document["nodes"][3]["attrs"]["func_name"] = "split";
  document["nodes"][3]["attrs"].erase("kelf");
  const auto graph = Parse(document);
  ASSERT_THAT(graph, Succeeds());
  EXPECT_EQ(CoresRequired(*graph, {}), 0u);
}

TEST(NeffGraph, KeepsAttributesThatAreNoText) {
  json document = SampleJson();
  document["nodes"][4]["attrs"]["axes"] = {1, 2};
  EXPECT_EQ(Parse(document)->nodes[4].attrs.at("axes"), "[1,2]");
}

TEST(NeffGraph, OfAScalarHasOneElement) {
  json document = SampleJson();
  document["attrs"]["shape"][1][5] = json::array();
  document["attrs"]["dltype"][1][5] = "bfloat16";
  EXPECT_EQ(Parse(document)->tensors[5].bytes, 2u);
}

struct BadGraph {
  const char* at;           // JSON pointer; a trailing '!' removes what is there
  const char* replacement;  // JSON
  const char* expected;     // in the message
};

TEST(NeffGraph, SaysWhatIsWrongAndWhere) {
  const BadGraph cases[] = {
      {"/nodes", "{}", "neff.json: nodes: expected an array"},
      {"/nodes!", "", "neff.json: has no \"nodes\""},
      {"/node_row_ptr!", "", "has no \"node_row_ptr\""},
      {"/node_row_ptr", "[0,1,2,3,5]", "5 items for 5 nodes"},
      {"/node_row_ptr", "[1,1,2,3,5,6]", "does not rise from 0"},
      {"/node_row_ptr", "[0,1,2,1,5,6]", "does not rise from 0"},
      {"/node_row_ptr", "[0,1,2,3,5,4000000000]", "tensors, at most"},
      {"/node_row_ptr", "[0,1,2,3,5,4294967296]", "4294967296 is more than 4294967295"},
      {"/node_row_ptr", "[0,1,2,3,5,-6]", "node_row_ptr[5]: expected a whole number, found -6"},
      {"/node_row_ptr", "[0,1,2,3,5,6.5]", "expected a whole number, found 6.5"},
      {"/node_row_ptr", "[0,1,2,3,5,7]", "attrs.shape[1]: 6 items for the 7 tensors"},
      {"/attrs", "null", "has no \"attrs\""},
      {"/attrs/shape", "[\"list_shape\"]", "attrs.shape: expected [\"list_shape\""},
      {"/attrs/shape/0", "\"list_int\"", "expected \"list_shape\", found \"list_int\""},
      {"/attrs/shape/1/2", "[-1,4]", "attrs.shape[1][2][0]: a dimension of -1"},
      {"/attrs/shape/1/2", "[\"4\"]", "expected a whole number, found \"4\""},
      {"/attrs/shape/1/2", "[4294967296,4294967296]", "tensor 2 of shape"},
      {"/attrs/shape/1/2", "[4611686018427387904]", "overflows"},
      {"/attrs/shape/1/2", "[9223372036854775808]", "is more than 9223372036854775807"},
      {"/attrs/dltype/1/2", "\"float24\"", "attrs.dltype[1][2]: the type \"float24\""},
      {"/attrs/dltype/1", "[]", "attrs.dltype[1]: 0 items"},
      {"/attrs/storage_id/1/0", "\"0\"", "attrs.storage_id[1][0]"},
      {"/nodes/3/op", "\"call\"", "nodes[3].op: \"call\" is neither"},
      {"/nodes/3/op!", "", "nodes[3]: has no \"op\""},
      {"/nodes/3", "7", "nodes[3]: expected an object"},
      {"/nodes/3/op", "\"null\"", "an input node with 2 outputs"},
      {"/nodes/3/inputs", "[[3,0,0]]", "node 3 does not stand before node 3"},
      {"/nodes/3/inputs", "[[4,0,0]]", "nodes[3].inputs[0]: node 4 does not stand before"},
      {"/nodes/3/inputs", "[[0,1,0]]", "node 0 has no output 1"},
      {"/nodes/3/inputs", "[[0]]", "expected [node, output, version]"},
      {"/nodes/3/inputs", "[[0,0,0,0]]", "4 items, at most 3"},
      {"/nodes/3/inputs", "[]", "num_inputs: 1, but the node has 0"},
      {"/nodes/3/attrs/num_outputs", "\"3\"", "num_outputs: 3, but the node has 2"},
      {"/nodes/3/attrs/num_outputs", "\"2x\"", "expected a whole number, found \"2x\""},
      {"/nodes/3/attrs/func_name!", "", "nodes[3].attrs: has no \"func_name\""},
      {"/nodes/3/attrs/kelf!", "", "has no \"kelf\""},
      {"/nodes/3/output_names", "[\"a\"]", "1 names for the 2 outputs"},
      {"/nodes/0/is_param", "\"yes\"", "nodes[0].is_param: expected 0 or 1"},
      {"/arg_nodes", "[0,1]", "arg_nodes: input node 2 is missing"},
      {"/arg_nodes", "[0,1,2,3]", "node 3 is not an input node"},
      {"/arg_nodes", "[0,1,2,99]", "node 99 is not an input node"},
      {"/arg_nodes", "[0,1,2,2]", "node 2 stands there twice"},
      {"/heads", "[]", "a network without outputs"},
      {"/heads", "[[5,0,0]]", "heads[0]: node 5 does not stand before node 5"},
      {"/heads", "[[4,1,0]]", "node 4 has no output 1"},
      {"/metadata/signatures/default/inputs/input:0/id", "3", "input:0.id: node 3 is not an input"},
      {"/metadata/signatures/default/inputs/input:0/id", "1", "node 1 has two names"},
      {"/metadata/signatures/default/inputs/input:0/shape", "[4]", "[4], but attrs.shape says"},
      {"/metadata/signatures/default/inputs/input:0/dtype", "\"int8\"", "int8, but attrs.dltype"},
      {"/metadata/signatures/default/inputs", "[]", "default.inputs: expected an object"},
      {"/nodes/1/name", "12", "nodes[1].name: expected text, found 12"},
  };
  for (const BadGraph& bad : cases) {
    json document = SampleJson();
    std::string at = bad.at;
    if (at.ends_with('!')) {
      at.pop_back();
      const json patch = json::array({{{"op", "remove"}, {"path", at}}});
      document = document.patch(patch);
    } else {
      document[json::json_pointer(at)] = json::parse(bad.replacement);
    }
    EXPECT_THAT(Parse(document), FailsWith(Nerr::kInvalid, bad.expected))
        << bad.at << " = " << bad.replacement;
  }
}

TEST(NeffGraph, RefusesTwoInputsOfOneName) {
  json document = SampleJson();
  document["metadata"]["signatures"]["default"]["inputs"].erase("unused:0");
  document["nodes"][1]["name"] = "input:0";
  EXPECT_THAT(Parse(document), FailsWith(Nerr::kInvalid, "two inputs are named \"input:0\""));
}

TEST(NeffGraph, RefusesMalformedJsonWithItsPlace) {
  for (const char* text : {"", "{", "{\"nodes\": [}", "nul", "{} {}", "\"\xff\"", "[1e999]"})
    EXPECT_THAT(ParseGraph(AsBytes(text)), FailsWith(Nerr::kInvalid, "neff.json: ")) << text;
}

TEST(NeffGraph, RefusesDeepJson) {
  const std::string deep(1'000'000, '[');
  EXPECT_THAT(ParseGraph(AsBytes(deep)), FailsWith(Nerr::kInvalid, "nested deeper than 64"));
  json document = SampleJson();
  json nested = 1;
  for (int i = 0; i < 62; ++i) nested = json::array({nested});
  document["other"] = nested;
  EXPECT_THAT(Parse(document), Succeeds());
  document["other"] = json::array({json::array({nested})});
  EXPECT_THAT(Parse(document), FailsWith(Nerr::kInvalid, "nested deeper than 64"));
}

TEST(NeffGraph, CountsNoBracketsInsideOfTexts) {
  json document = SampleJson();
  document["other"] = std::string(1000, '[') + "\"\\" + std::string(1000, '{');
  EXPECT_THAT(Parse(document), Succeeds());
}

TEST(NeffGraph, RefusesMoreThanItsLimits) {
  Limits limits;
  limits.max_json_bytes = 100;
  EXPECT_THAT(Parse(SampleJson(), limits), FailsWith(Nerr::kInvalid, "larger than the limit"));
  limits = {};
  limits.max_json_values = 50;
  EXPECT_THAT(Parse(SampleJson(), limits), FailsWith(Nerr::kInvalid, "more than 50 values"));
  limits = {};
  limits.max_nodes = 4;
  EXPECT_THAT(Parse(SampleJson(), limits), FailsWith(Nerr::kInvalid, "5 items, at most 4"));
  limits = {};
  limits.max_tensors = 5;
  EXPECT_THAT(Parse(SampleJson(), limits), FailsWith(Nerr::kInvalid, "6 tensors, at most 5"));
  limits = {};
  limits.max_node_ports = 1;
  EXPECT_THAT(Parse(SampleJson(), limits), FailsWith(Nerr::kInvalid, "2 outputs, at most 1"));
  limits = {};
  limits.max_dimensions = 1;
  EXPECT_THAT(Parse(SampleJson(), limits), FailsWith(Nerr::kInvalid, "2 items, at most 1"));
}

TEST(NeffGraph, ThatNamesATensorItDoesNotHaveIsNotWritten) {
  Graph graph = SampleContents().graph;
  graph.outputs[0].tensor = 99;
  EXPECT_THAT(SerializeGraph(graph), FailsWith(Nerr::kInvalid, "does not have"));
  graph = SampleContents().graph;
  graph.nodes[0].name = "\xff";
  EXPECT_THAT(SerializeGraph(graph), FailsWith(Nerr::kInvalid, "cannot be written"));
}

}  // namespace
}  // namespace nrtd::neff
