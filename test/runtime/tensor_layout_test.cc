// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/tensor_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/driver_shim/sim_fixture.h"
#include "test/must.h"
#include "test/runtime/neff_builder.h"

namespace nrtd::runtime {
namespace {

using ::testing::HasSubstr;

constexpr uint32_t kNode = 1;  // the kelf of a pipeline

TensorLayout Layout(const neff::NeffContents& contents) {
  return Must(LayOutTensors(Executable(contents)));
}

TEST(TensorLayoutTest, PortsAreThoseOfTheGraph) {
  const TensorLayout layout = Layout(PipelineContents(DoublingSpec(1, 5)));
  ASSERT_EQ(layout.inputs.size(), 1U);
  EXPECT_EQ(layout.inputs[0].name, "x");
  EXPECT_EQ(layout.inputs[0].dtype, DType::kFloat32);
  EXPECT_EQ(layout.inputs[0].shape, (Shape{5}));
  EXPECT_EQ(layout.inputs[0].bytes, 20U);
  EXPECT_TRUE(layout.inputs[0].used);
  ASSERT_EQ(layout.outputs.size(), 1U);
  EXPECT_EQ(layout.outputs[0].name, "y");
}

TEST(TensorLayoutTest, TensorsAreAlignedAndDoNotOverlap) {
  const TensorLayout layout = Layout(PipelineContents(DoublingSpec(3, 17)));
  const auto& tensors = layout.node_tensors.at(kNode);
  ASSERT_EQ(tensors.size(), 4U);  // x, y, t0, t1
  for (const auto& [name, a] : tensors) {
    EXPECT_EQ(a.slot_offset % 64, 0U) << name;
    EXPECT_LE(a.slot_offset + a.bytes, layout.slot_bytes) << name;
    for (const auto& [other, b] : tensors) {
      if (&a == &b) continue;
      EXPECT_TRUE(a.slot_offset + a.bytes <= b.slot_offset ||
                  b.slot_offset + b.bytes <= a.slot_offset)
          << name << " " << other;
    }
  }
}

TEST(TensorLayoutTest, PortsAndVariablesOfOneTensorAreOnePlace) {
  const TensorLayout layout = Layout(PipelineContents(DoublingSpec(2)));
  EXPECT_EQ(Must(layout.Find(kNode, "x"))->slot_offset, layout.inputs[0].slot_offset);
  EXPECT_EQ(Must(layout.Find(kNode, "y"))->slot_offset, layout.outputs[0].slot_offset);
}

TEST(TensorLayoutTest, DataBetweenSubgraphsHasOnePlace) {
  const TensorLayout layout = Layout(PipelineContents(DoublingSpec(2, 6)));
  EXPECT_EQ(Must(layout.Find(kNode, "t0"))->bytes, 24U);
  EXPECT_EQ(layout.node_tensors.at(kNode).size(), 3U);  // x, y, t0
}

TEST(TensorLayoutTest, AnInputThatTheCompilerFoldedAwayIsThereAndMarked) {
  neff::NeffContents contents = PipelineContents(DoublingSpec(1));
  neff::Node unused;
  unused.name = "unused";
  unused.outputs = {2};
  contents.graph.nodes.insert(contents.graph.nodes.begin() + 1, unused);
  contents.graph.tensors[1].node = 2;
  contents.graph.tensors.push_back({"unused", DType::kInt64, {3}, 24, 2, 1});
  // A node's tensors come in the order of the nodes.
  std::swap(contents.graph.tensors[1], contents.graph.tensors[2]);
  contents.graph.nodes[1].outputs = {1};
  contents.graph.nodes[2].outputs = {2};
  contents.graph.outputs = {{"y", 2}};
  contents.graph.inputs = {{"x", 0}, {"unused", 1}};
  const TensorLayout layout = Layout(contents);
  ASSERT_EQ(layout.inputs.size(), 2U);
  EXPECT_TRUE(layout.inputs[0].used);
  EXPECT_EQ(layout.inputs[1].name, "unused");
  EXPECT_EQ(layout.inputs[1].bytes, 24U);
  EXPECT_FALSE(layout.inputs[1].used);
}

TEST(TensorLayoutTest, UnknownTensorsAreNamed) {
  const TensorLayout layout = Layout(PipelineContents(DoublingSpec(1)));
  const auto missing = layout.Find(kNode, "z");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Nerr::kInvalid);
  EXPECT_EQ(missing.error().text, "node 1 has no tensor 'z'");
  EXPECT_FALSE(layout.Find(0, "x"));  // an input node has no variables
}

TEST(TensorLayoutTest, SubgraphsThatDisagreeOnASizeAreRefused) {
  neff::NeffContents contents = PipelineContents(DoublingSpec(2));
  contents.kelfs["kelf-0.json"].subgraphs[1].variables[0].size = 64;  // t0, which has 16
  const auto refused = LayOutTensors(Executable(contents));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kInvalid);
  EXPECT_THAT(refused.error().text, HasSubstr("'t0' has 64 bytes, the graph says 16"));
}

TEST(TensorLayoutTest, AnOutputThatNoSubgraphMakesIsRefused) {
  neff::NeffContents contents = PipelineContents(DoublingSpec(2));
  contents.kelfs["kelf-0.json"].subgraphs[1].variables[1].name = "other";
  const auto refused = LayOutTensors(Executable(contents));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kInvalid);
  EXPECT_THAT(refused.error().text, HasSubstr("makes its output 'y'"));
}

TEST(TensorLayoutTest, TwoTensorsOfANodeWithOneNameAreRefused) {
  neff::NeffContents contents = PipelineContents(DoublingSpec(1));
  contents.graph.tensors.push_back({"y", DType::kFloat32, {4}, 16, 2, 1});
  contents.graph.nodes[1].outputs = {1, 2};
  contents.graph.outputs.push_back({"y", 2});
  const auto refused = LayOutTensors(Executable(contents));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kInvalid);
  EXPECT_THAT(refused.error().text, HasSubstr("two tensors 'y'"));
}

}  // namespace
}  // namespace nrtd::runtime
