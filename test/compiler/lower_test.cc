// SPDX-License-Identifier: Apache-2.0
#include "compiler/lower/lower.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "compiler/onnx_import.h"
#include "compiler/passes/passes.h"
#include "test/compiler/cases.h"

namespace nrtd::compiler {
namespace {

using ::testing::ElementsAre;

struct Lowered {
  explicit Lowered(Graph g) : graph(std::move(g)), plan(PlanMemory(graph)) {
    program = Must(LowerGraph(graph, plan));
  }
  static Lowered Model(const std::string& name, bool cast = true) {
    Graph graph = Must(ImportOnnx(ModelOf(name)));
    RunPasses(graph);
    if (cast) CastProducts(graph);
    return Lowered(std::move(graph));
  }
  template <typename I>
  const I& Get(size_t index) const {
    return std::get<I>(program.at(index).instruction);
  }
  std::vector<sim::Opcode> Opcodes() const {
    std::vector<sim::Opcode> opcodes;
    for (const TensorInstruction& i : program) opcodes.push_back(sim::OpcodeOf(i.instruction));
    return opcodes;
  }

  Graph graph;
  MemoryPlan plan;
  std::vector<TensorInstruction> program;
};

using sim::Opcode;

TEST(Lower, AChainIsOneInstructionANode) {
  const Lowered chain = Lowered::Model("chain_conv_relu_maxpool");
  EXPECT_THAT(chain.Opcodes(), ElementsAre(Opcode::kConv2d, Opcode::kPool2d, Opcode::kConv2d,
                                           Opcode::kPool2d, Opcode::kMatMul, Opcode::kSoftmax));
  for (const TensorInstruction& i : chain.program)
    EXPECT_TRUE(sim::RunsOn(sim::OpcodeOf(i.instruction), i.engine));
  EXPECT_EQ(chain.Get<sim::Conv2d>(0).weights.dtype, DType::kBFloat16);
  EXPECT_EQ(chain.Get<sim::Conv2d>(0).bias->dtype, DType::kFloat32);
  EXPECT_EQ(chain.Get<sim::Conv2d>(0).precision, sim::Precision::kBFloat16);
  EXPECT_EQ(chain.Get<sim::Conv2d>(0).fused, sim::Fused{});
}

TEST(Lower, WithoutCastEverythingIsFloat32) {
  const Lowered chain = Lowered::Model("chain_conv_relu_maxpool", /*cast=*/false);
  EXPECT_EQ(chain.Get<sim::Conv2d>(0).weights.dtype, DType::kFloat32);
  EXPECT_EQ(chain.Get<sim::MatMul>(4).precision, sim::Precision::kFloat32);
}

// What all of attention should come to: four products, one softmax, nothing that moves elements.
TEST(Lower, AttentionMovesNothing) {
  for (const char* model : {"attention_masked", "attention_mask_first"}) {
    const Lowered attention = Lowered::Model(model);
    EXPECT_THAT(attention.Opcodes(),
                ElementsAre(Opcode::kMatMul, Opcode::kMatMul, Opcode::kMatMul, Opcode::kMatMul,
                            Opcode::kSoftmax, Opcode::kMatMul))
        << model;
    const auto& softmax = attention.Get<sim::Softmax>(4);
    EXPECT_FLOAT_EQ(softmax.scale, 0.5F);
    EXPECT_TRUE(softmax.mask);
  }
}

TEST(Lower, WhatIsWrittenOutIsRecognised) {
  const Lowered norm = Lowered::Model("layernorm_written_out_row");
  EXPECT_THAT(norm.Opcodes(), ElementsAre(Opcode::kLayerNorm));
  EXPECT_FLOAT_EQ(norm.Get<sim::LayerNorm>(0).epsilon, 1e-5F);
  EXPECT_TRUE(norm.Get<sim::LayerNorm>(0).scale);
  EXPECT_TRUE(norm.Get<sim::LayerNorm>(0).bias);
  const Lowered gelu = Lowered::Model("gelu_written_out_row");
  EXPECT_THAT(gelu.Opcodes(), ElementsAre(Opcode::kActivation));
  EXPECT_EQ(gelu.Get<sim::Activation>(0).function, sim::Function::kGeluErf);
}

TEST(Lower, BatchNormalisationGoesIntoTheConvolution) {
  for (const char* model :
       {"conv_batchnorm", "conv_bias_batchnorm_relu", "depthwise_batchnorm_clip"}) {
    const Lowered conv = Lowered::Model(model);
    EXPECT_THAT(conv.Opcodes(), ElementsAre(Opcode::kConv2d)) << model;
    EXPECT_TRUE(conv.Get<sim::Conv2d>(0).bias) << model;
  }
}

TEST(Lower, ShapesThatTheModelComputesAreKnown) {
  for (const char* model :
       {"shape_gather_concat_reshape", "shape_slice_reshape", "shape_arithmetic"}) {
    EXPECT_THAT(Lowered::Model(model).Opcodes(), ElementsAre()) << model;
  }
}

TEST(Lower, WeightsThatAreComputedStayFloat32) {
  const Lowered conv = Lowered::Model("conv_weights_are_an_input");
  EXPECT_EQ(conv.Get<sim::Conv2d>(0).weights.dtype, DType::kFloat32);
}

TEST(Lower, OneDimensionalConvolutionsAreImagesOfOneRow) {
  const sim::Conv2d conv = Lowered::Model("conv_1d").Get<sim::Conv2d>(0);
  EXPECT_THAT(conv.input.dims, ElementsAre(2, 3, 1, 9));
  EXPECT_THAT(conv.weights.dims, ElementsAre(4, 3, 1, 3));
  EXPECT_THAT(conv.output.dims, ElementsAre(2, 4, 1, 9));
}

TEST(Lower, ManyProductsWithTheSameWeightsBecomeOne) {
  const sim::MatMul product = Lowered::Model("matmul_broadcast_3d_2d_weights").Get<sim::MatMul>(0);
  EXPECT_THAT(product.a.dims, ElementsAre(6, 4));
  EXPECT_THAT(product.b.dims, ElementsAre(4, 5));
  EXPECT_THAT(product.c.dims, ElementsAre(6, 5));
}

TEST(Lower, BatchedProductsKeepWhatRepeats) {
  const sim::MatMul product = Lowered::Model("matmul_broadcast_batch").Get<sim::MatMul>(0);
  EXPECT_THAT(product.a.dims, ElementsAre(2, 1, 3, 4));
  EXPECT_THAT(product.b.dims, ElementsAre(1, 3, 4, 2));
  EXPECT_THAT(product.c.dims, ElementsAre(2, 3, 3, 2));
}

TEST(Lower, VectorsAreRowsOnTheLeftAndColumnsOnTheRight) {
  EXPECT_THAT(Lowered::Model("matmul_vector_left").Get<sim::MatMul>(0).c.dims, ElementsAre(1, 5));
  EXPECT_THAT(Lowered::Model("matmul_vector_right").Get<sim::MatMul>(0).c.dims, ElementsAre(3, 1));
  EXPECT_THAT(Lowered::Model("matmul_vector_both").Get<sim::MatMul>(0).c.dims, ElementsAre(1, 1));
}

// A bias behind a product with a vector on the right: [M] must become a column, not a row.
TEST(Lower, TheBiasOfAVectorProductLiesAlongTheResult) {
  GraphWriter w;
  const ValueId a = w.Input("a", {3, 4});
  const ValueId b = w.Input("b", {4});
  const ValueId bias = w.Constant("bias", {3});
  const Lowered lowered(w.Finish({w.Node("y", MatMul{}, {a, b, bias}, {3})}));
  EXPECT_THAT(lowered.Get<sim::MatMul>(0).bias->dims, ElementsAre(3, 1));
}

TEST(Lower, TransposingSwapsStrides) {
  const sim::MatMul product = Lowered::Model("gemm_trans_b").Get<sim::MatMul>(0);
  EXPECT_THAT(product.b.dims, ElementsAre(4, 5));
  EXPECT_THAT(product.b.strides, ElementsAre(1, 4));
}

TEST(Lower, AdditionsJoinDimensions) {
  const sim::Binary same = Lowered::Model("add_same_shape").Get<sim::Binary>(0);
  EXPECT_THAT(same.a.dims, ElementsAre(24));
  const sim::Binary repeated = Lowered::Model("add_constant").Get<sim::Binary>(0);
  EXPECT_THAT(repeated.a.dims, ElementsAre(6, 4));
  EXPECT_THAT(repeated.b.dims, ElementsAre(1, 4));
}

TEST(Lower, WhereBothRepeatTheFirstIsCopiedToTheResult) {
  const Lowered add = Lowered::Model("add_broadcast_both");
  EXPECT_THAT(add.Opcodes(), ElementsAre(Opcode::kCopy, Opcode::kBinary));
  EXPECT_THAT(add.Get<sim::Copy>(0).input.dims, ElementsAre(2, 3, 4));
  EXPECT_THAT(add.Get<sim::Copy>(0).input.strides, ElementsAre(4, 0, 1));
  EXPECT_EQ(add.Get<sim::Copy>(0).output, add.Get<sim::Binary>(1).a);
  EXPECT_EQ(add.Get<sim::Binary>(1).a, add.Get<sim::Binary>(1).output);
}

TEST(Lower, SoftmaxIsOverTheMiddleOfThreeDimensions) {
  const sim::Softmax middle = Lowered::Model("softmax_axis1").Get<sim::Softmax>(0);
  EXPECT_THAT(middle.input.dims, ElementsAre(2, 3, 5));
  EXPECT_EQ(middle.axis, 1);
  const sim::Softmax all = Lowered::Model("softmax_default_opset11").Get<sim::Softmax>(0);
  EXPECT_THAT(all.input.dims, ElementsAre(2, 15));
  EXPECT_EQ(all.axis, 1);
}

TEST(Lower, ReshapesAreNoInstructions) {
  EXPECT_TRUE(Lowered::Model("flatten_axis1").program.empty());
}

TEST(Lower, TooManyDimensionsAreRefused) {
  GraphWriter w;
  // Alternating repetition, so that no two dimensions can be joined.
  const ValueId a = w.Input("a", {2, 2, 2, 2, 2, 2, 2});
  const ValueId b = w.Input("b", {2, 1, 2, 1, 2, 1, 2});
  const Graph graph = w.Finish({w.Node("wide sum", kAdd, {a, b}, {2, 2, 2, 2, 2, 2, 2})});
  const auto program = LowerGraph(graph, PlanMemory(graph));
  ASSERT_FALSE(program);
  EXPECT_EQ(program.error().code, Nerr::kInvalid);
  EXPECT_THAT(program.error().text, ::testing::HasSubstr("wide sum: needs 7 dimensions"));
}

}  // namespace
}  // namespace nrtd::compiler
