// SPDX-License-Identifier: Apache-2.0
#include "compiler/compile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/digest.h"
#include "base/file.h"
#include "neff/validator.h"
#include "test/compiler/cases.h"

namespace nrtd::compiler {
namespace {

using ::testing::HasSubstr;

const std::string kDigits = std::string(NRTD_SOURCE_DIR) + "/models/digits/digits.onnx";

class CompileTest : public ::testing::Test {
 protected:
  neff::Neff CompileAndRead(const std::string& model, const CompileOptions& options = {}) {
    const std::string path = folder_.File("model.neff");
    report_ = Must(CompileOnnx(model, path, options));
    return Must(neff::ReadExecutable(Must(ReadFile(path)), neff::kSimTarget));
  }
  TemporaryFolder folder_;
  CompileReport report_;
};

// As the loader sees it: from the file alone.
sim::ProgramContext ContextOf(const neff::Subgraph& subgraph) {
  sim::ProgramContext context;
  for (const neff::Variable& variable : subgraph.variables) {
    const bool is_port =
        variable.type == neff::VariableType::kInput || variable.type == neff::VariableType::kOutput;
    context.variables.push_back(
        {variable.var_id, *variable.size, !is_port, variable.type == neff::VariableType::kTmpBuf});
  }
  for (size_t e = 0; e < sim::kEngines; ++e) {
    for (const neff::DmaTrigger& trigger : subgraph.engines[e].dma)
      context.dma_ids[e].push_back(trigger.id);
  }
  return context;
}

void ExpectThePortsOf(const Case& model, const neff::Graph& graph) {
  ASSERT_EQ(graph.inputs.size(), model.inputs.size());
  ASSERT_EQ(graph.outputs.size(), model.outputs.size());
  const auto check = [&](const neff::Port& port, const std::map<std::string, NpyArray>& arrays) {
    ASSERT_TRUE(arrays.contains(port.name)) << port.name;
    EXPECT_EQ(graph.tensors[port.tensor].shape, arrays.at(port.name).shape);
    EXPECT_EQ(graph.tensors[port.tensor].dtype, arrays.at(port.name).dtype);
  };
  for (const neff::Port& port : graph.inputs) check(port, model.inputs);
  for (const neff::Port& port : graph.outputs) check(port, model.outputs);
}

TEST_F(CompileTest, EveryCaseGivesAnExecutableNeffWithThePortsOfTheModel) {
  for (const std::string& name : CaseNames()) {
    SCOPED_TRACE(name);
    const Case model = LoadCase(name);
    const neff::Neff neff = CompileAndRead(model.model);
    ExpectThePortsOf(model, neff.graph());
    EXPECT_TRUE(neff.HashMatches());
    EXPECT_EQ(neff.UuidText(), report_.uuid);
    EXPECT_EQ(neff.FileSize(), report_.neff_bytes);
    EXPECT_EQ(neff.WeightBytes(), report_.Total().weight_bytes);
    EXPECT_TRUE(name.starts_with("host_") || neff.kelfs().size() == 1);
    std::array<uint64_t, sim::kEngines> instructions{};
    for (const auto& [file, kelf] : neff.kelfs()) {
      ASSERT_EQ(kelf.subgraphs.size(), 1U);
      const neff::Subgraph& subgraph = kelf.subgraphs[0];
      ASSERT_EQ(subgraph.engines.size(), sim::kEngines);
      const sim::ProgramContext context = ContextOf(subgraph);
      for (size_t e = 0; e < sim::kEngines; ++e) {
        const sim::Stream stream =
            Must(sim::DecodeStream(subgraph.engines[e].instructions.bytes()));
        EXPECT_EQ(stream.engine, static_cast<sim::Engine>(e));
        const auto valid = sim::Validate(stream, context);
        EXPECT_TRUE(valid) << valid.error().text;
        instructions[e] += stream.instructions.size();
      }
    }
    for (size_t e = 0; e < sim::kEngines; ++e)
      EXPECT_EQ(instructions[e], report_.Total().engines[e].instructions);
  }
}

TEST_F(CompileTest, AnUnusedInputIsAPortButNoVariable) {
  for (const char* name : {"unused_input", "unused_input_dead_node"}) {
    const neff::Neff neff = CompileAndRead(ModelOf(name));
    ASSERT_EQ(neff.graph().inputs.size(), 2U);
    EXPECT_FALSE(neff.graph().IsUsed(neff.graph().inputs[1].tensor));
    const neff::Subgraph& subgraph = neff.kelfs().at("kelf-0.json").subgraphs[0];
    EXPECT_EQ(subgraph.FindVariable(neff.graph().inputs[1].name), nullptr);
    EXPECT_FALSE(report_.inputs[1].is_used);
  }
}

TEST_F(CompileTest, TheNeffTellsTheBatchOfItsPorts) {
  const neff::Neff digits = CompileAndRead(kDigits);
  EXPECT_EQ(digits.info().batches,
            (std::map<std::string, uint32_t>{{"input:0", 1}, {"output:0", 1}}));
  const neff::Neff two = CompileAndRead(ModelOf("host_topk_between_products"));
  EXPECT_EQ(two.info().batches, (std::map<std::string, uint32_t>{{"x", 4}, {"y", 4}}));
  // A batch behind convolutions, attention, and what is put in front of the rows.
  EXPECT_EQ(CompileAndRead(ModelOf("residual")).info().batches.at("y"), 1U);
  EXPECT_EQ(CompileAndRead(ModelOf("conv_batch2")).info().batches,
            (std::map<std::string, uint32_t>{{"x", 2}, {"y", 2}}));
  EXPECT_EQ(CompileAndRead(ModelOf("concat_axis1")).info().batches,
            (std::map<std::string, uint32_t>{{"a", 2}, {"b", 2}, {"y", 2}}));
  // None of transposed outputs, of steps, of rows that meet.
  for (const char* name : {"transpose_2d", "lstm_forward", "gru_both_ways", "softmax_axis0_opset11",
                           "slice_backwards", "expand"})
    EXPECT_TRUE(CompileAndRead(ModelOf(name)).info().batches.empty()) << name;
}

TEST_F(CompileTest, TheSameModelAndOptionsGiveTheSameBytes) {
  for (const Fp32Cast cast : {Fp32Cast::kAll, Fp32Cast::kNone}) {
    const CompileOptions options{cast, 1};
    Must(CompileOnnx(kDigits, folder_.File("a.neff"), options));
    Must(CompileOnnx(kDigits, folder_.File("b.neff"), options));
    EXPECT_EQ(Must(ReadFile(folder_.File("a.neff"))), Must(ReadFile(folder_.File("b.neff"))));
  }
}

TEST_F(CompileTest, OtherContentsHaveAnotherUuid) {
  std::set<std::string> uuids;
  for (const Fp32Cast cast : {Fp32Cast::kAll, Fp32Cast::kNone}) {
    for (const char* name : {"gemm_plain", "gemm_trans_b", "gemm_beta_zero"}) {
      CompileAndRead(ModelOf(name), {cast, 1});
      EXPECT_TRUE(uuids.insert(report_.uuid).second) << name;
    }
  }
}

TEST_F(CompileTest, CastHalvesWhatPeMultipliesBy) {
  CompileAndRead(kDigits, {Fp32Cast::kAll, 1});
  const uint64_t cast = report_.Total().weight_bytes;
  CompileAndRead(kDigits, {Fp32Cast::kMatMult, 1});
  EXPECT_EQ(report_.Total().weight_bytes, cast);
  CompileAndRead(kDigits, {Fp32Cast::kNone, 1});
  // 72 + 1152 + 2048 + 320 weights, 66 biases.
  EXPECT_EQ(cast, 2U * 3592 + 4U * 66);
  EXPECT_EQ(report_.Total().weight_bytes, 4U * 3592 + 4U * 66);
}

TEST_F(CompileTest, ReportsWhatTheNetworkCosts) {
  CompileAndRead(kDigits);
  EXPECT_EQ(report_.name, "digits");
  EXPECT_EQ(report_.Total().engines[0].macs, 25408U);
  EXPECT_EQ(report_.Total().engines[0].tensor_instructions, 4U);
  EXPECT_EQ(report_.Total().engines[1].tensor_instructions, 1U);
  EXPECT_EQ(report_.Total().engines[2].tensor_instructions, 2U);
  EXPECT_LT(report_.Total().scratch_bytes, report_.Total().unshared_bytes);
}

TEST_F(CompileTest, APipelineHasAPieceForEachCoreAndLosesNothing) {
  (void)CompileAndRead(kDigits);
  const PieceReport whole = report_.Total();
  for (const uint32_t cores : {2U, 3U, 4U}) {
    const neff::Neff neff = CompileAndRead(kDigits, {Fp32Cast::kAll, cores});
    EXPECT_EQ(neff.CoresRequired(), cores);
    ASSERT_EQ(neff.kelfs().size(), 1U);
    EXPECT_EQ(neff.kelfs().begin()->second.subgraphs.size(), cores);
    ASSERT_EQ(report_.stages.size(), 1U);
    EXPECT_EQ(report_.stages[0].pieces.size(), cores);
    EXPECT_EQ(report_.Total().weight_bytes, whole.weight_bytes);
    EXPECT_EQ(report_.Total().engines[0].macs, whole.engines[0].macs);
  }
}

// Two stages of the same cost, with a call of the host between, cannot both have half of three.
TEST_F(CompileTest, StagesHaveNoMorePiecesTogetherThanCores) {
  GraphWriter w;
  const ValueId x = w.Input("x", {4, 8});
  const ValueId a = w.Node("a", kRelu, {x}, {4, 8});
  const ValueId b = w.Node("b", Softmax{1, 2}, {a}, {4, 8});
  const HostCall call{"nrt_cumsum", {{"axis", "1"}, {"exclusive", "0"}, {"reverse", "0"}}};
  const ValueId sum = w.Node("sum", call, {b}, {4, 8});
  const ValueId c = w.Node("c", kRelu, {sum}, {4, 8});
  const Graph graph = w.Finish({w.Node("d", Softmax{1, 2}, {c}, {4, 8})});
  const std::pair<uint32_t, size_t> kPieces[] = {{1, 2}, {2, 2}, {3, 3}, {4, 4}};
  for (const auto& [cores, pieces] : kPieces) {
    const Compiled compiled = Must(CompileGraph(graph, {Fp32Cast::kAll, cores}));
    size_t count = 0;
    for (const StageReport& stage : compiled.report.stages) count += stage.pieces.size();
    EXPECT_EQ(count, pieces) << cores << " cores";
  }
}

TEST_F(CompileTest, PipelinesOfMoreCoresThanNodesAreRefused) {
  for (const uint32_t cores : {0U, 100U}) {
    const auto report = CompileOnnx(kDigits, folder_.File("x.neff"), {Fp32Cast::kAll, cores});
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().code, Nerr::kInvalid);
    EXPECT_THAT(report.error().text, HasSubstr(fmt::format("a pipeline of {} NeuronCores", cores)));
    EXPECT_FALSE(std::filesystem::exists(folder_.File("x.neff")));
  }
}

TEST_F(CompileTest, WhatNoEngineHasIsACallOfTheHost) {
  const neff::Neff neff = CompileAndRead(ModelOf("host_topk_between_products"));
  ASSERT_EQ(report_.stages.size(), 3U);
  EXPECT_EQ(report_.stages[0].pieces.size(), 1U);
  ASSERT_TRUE(report_.stages[1].call);
  EXPECT_EQ(report_.stages[1].call->function, "nrt_topk");
  EXPECT_EQ(report_.stages[2].pieces.size(), 1U);
  EXPECT_EQ(neff.kelfs().size(), 2U);
}

// Values and where they are: one call, not two.
TEST_F(CompileTest, BothResultsOfACallAreOneNode) {
  const neff::Neff neff = CompileAndRead(ModelOf("host_topk_axis0_largest1"));
  size_t calls = 0;
  for (const neff::Node& node : neff.graph().nodes) {
    if (node.kind != neff::NodeKind::kHostFunction) continue;
    ++calls;
    EXPECT_EQ(node.outputs.size(), 2U);
  }
  EXPECT_EQ(calls, 1U);
}

// They would be one call if only what they do counted, and the network would lose an output.
TEST_F(CompileTest, EqualCallsOfTwoNodesAreTwoCalls) {
  GraphWriter w;
  const ValueId x = w.Input("x", {2, 5});
  const auto call = [&](const std::string& name, const std::string& function, size_t number,
                        size_t result, Shape shape) {
    HostCall operation{function, {{"axis", "1"}}, number, result};
    operation.attributes[function == "nrt_topk" ? "largest" : "select_last_index"] = "1";
    const ValueId id = w.Node(name, std::move(operation), {x}, std::move(shape));
    if (function != "nrt_topk" || result == 1) w.graph.values[id].dtype = DType::kInt64;
    return id;
  };
  const ValueId first = call("first", "nrt_argmax", 1, 0, {2, 1});
  const ValueId same = call("same", "nrt_argmax", 2, 0, {2, 1});
  const ValueId best = call("best", "nrt_topk", 3, 0, {2, 1});
  const ValueId place = call("place", "nrt_topk", 3, 1, {2, 1});
  const ValueId five = call("five", "nrt_topk", 4, 0, {2, 5});
  const ValueId places = call("places", "nrt_topk", 4, 1, {2, 5});
  const Graph graph = w.Finish({first, same, best, place, five, places});
  const Compiled compiled = Must(CompileGraph(graph));
  ASSERT_EQ(compiled.contents.graph.outputs.size(), 6U);
  std::vector<size_t> results;
  for (const neff::Node& node : compiled.contents.graph.nodes)
    if (node.kind == neff::NodeKind::kHostFunction) results.push_back(node.outputs.size());
  EXPECT_THAT(results, ::testing::ElementsAre(1, 1, 2, 2));
}

TEST_F(CompileTest, ARefusedModelLeavesTheOldNeffAlone) {
  const std::string path = folder_.File("model.neff");
  Must(WriteFileAtomically(path, AsBytes("old")));
  EXPECT_FALSE(CompileOnnx(RefusedModel("symbolic_batch"), path));
  EXPECT_EQ(Must(ReadTextFile(path)), "old");
}

TEST_F(CompileTest, ForAnotherBatch) {
  CompileOptions options;
  options.batch = 3;
  CompileAndRead(kDigits, options);
  EXPECT_EQ(report_.inputs.at(0).shape, (Shape{3, 1, 8, 8}));
  EXPECT_EQ(report_.outputs.at(0).shape, (Shape{3, 10}));
  EXPECT_EQ(report_.outputs.at(0).batch, 3U);
  CompileAndRead(RefusedModel("symbolic_batch"), options);
  EXPECT_EQ(report_.inputs.at(0).shape.at(0), 3);
}

TEST_F(CompileTest, ABatchOfAModelThatMixesRowsIsRefused) {
  CompileOptions options;
  options.batch = 3;
  const auto report =
      CompileOnnx(ModelOf("transpose_default"), folder_.File("model.neff"), options);
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().text, HasSubstr("a batch of 3: output 'y' is [4,3,3], and its rows"));
}

TEST_F(CompileTest, AFolderThatIsNotThereIsNamed) {
  const auto report = CompileOnnx(kDigits, folder_.File("no/such/model.neff"));
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().text, HasSubstr("no/such/model.neff"));
}

TEST_F(CompileTest, WeightsAreStoredRounded) {
  GraphWriter w;
  const ValueId x = w.Input("x", {1, 1});
  const ValueId weights = w.Constant("weights", {1, 1}, {1.00390625F});  // 1 + 2^-8: a tie, to even
  const Compiled compiled =
      Must(CompileGraph(w.Finish({w.Node("y", MatMul{}, {x, weights}, {1, 1})})));
  ASSERT_EQ(compiled.contents.files.size(), 1U);
  const NpyView view = Must(ParseNpy(compiled.contents.files.begin()->second.bytes()));
  EXPECT_EQ(view.dtype, DType::kBFloat16);
  EXPECT_EQ(LoadAt<uint16_t>(view.data, 0), 0x3f80);
}

}  // namespace
}  // namespace nrtd::compiler
