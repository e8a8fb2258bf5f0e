// SPDX-License-Identifier: Apache-2.0
#include "compiler/memory_plan.h"

#include <set>

#include <gtest/gtest.h>

#include "base/sizes.h"
#include "compiler/onnx_import.h"
#include "compiler/passes/passes.h"
#include "test/compiler/cases.h"

namespace nrtd::compiler {
namespace {

bool SamePlace(const MemoryPlan& plan, ValueId a, ValueId b) {
  return plan.ScratchOf(a).var_id == plan.ScratchOf(b).var_id &&
         plan.ScratchOf(a).offset == plan.ScratchOf(b).offset;
}

bool Overlap(const Graph& graph, const MemoryPlan& plan, ValueId a, ValueId b) {
  const Placement p = plan.ScratchOf(a);
  const Placement q = plan.ScratchOf(b);
  return p.var_id == q.var_id && p.offset < q.offset + graph.at(b).Bytes() &&
         q.offset < p.offset + graph.at(a).Bytes();
}

// Walks the program and keeps who wrote each place last: whoever reads must find his own value, or
// one that it is a reshape of.
void ExpectNothingIsOverwritten(const Graph& graph, const MemoryPlan& plan) {
  std::vector<ValueId> origin(graph.values.size());
  for (ValueId id = 0; id < origin.size(); ++id) origin[id] = id;
  std::set<ValueId> intact;
  for (const auto& [id, variable] : plan.input_variables) intact.insert(id);
  for (const Node& node : graph.nodes) {
    for (ValueId input : node.inputs) {
      if (!graph.at(input).IsConstant()) {
        EXPECT_TRUE(intact.contains(origin[input])) << node.name << " reads what is gone";
      }
    }
    if (std::holds_alternative<Reshape>(node.operation)) {
      origin[node.output] = origin[node.inputs[0]];
      continue;
    }
    std::erase_if(intact, [&](ValueId id) { return Overlap(graph, plan, id, node.output); });
    intact.insert(node.output);
  }
  for (ValueId output : graph.outputs) {
    if (!graph.at(output).IsConstant()) {
      EXPECT_TRUE(intact.contains(origin[output])) << "output is gone";
    }
  }
}

void ExpectGoodPlan(const Graph& graph) {
  const MemoryPlan plan = PlanMemory(graph);
  ExpectNothingIsOverwritten(graph, plan);
  std::set<std::string> names;
  for (const PlannedVariable& variable : plan.variables) {
    EXPECT_TRUE(names.insert(variable.name).second) << variable.name;
    EXPECT_GT(variable.size, 0U);
  }
  for (ValueId id = 0; id < graph.values.size(); ++id) {
    if (!plan.scratch[id]) continue;
    EXPECT_TRUE(RangeFits(plan.ScratchOf(id).offset, graph.at(id).Bytes(),
                          plan.variables[plan.ScratchOf(id).var_id].size));
    EXPECT_EQ(plan.ScratchOf(id).offset % kAlignment, 0U);
  }
  EXPECT_LE(plan.scratch_bytes, plan.unshared_bytes);
}

TEST(MemoryPlan, NoCaseOverwritesWhatIsStillRead) {
  for (const std::string& name : CaseNames()) {
    SCOPED_TRACE(name);
    for (const Graph& piece : PiecesOf(ModelOf(name))) ExpectGoodPlan(piece);
  }
}

TEST(MemoryPlan, LongChainNeedsNoMoreThanItsWidestPlace) {
  Graph graph = Must(ImportOnnx(ModelOf("long_chain")));
  RunPasses(graph);
  const MemoryPlan plan = PlanMemory(graph);
  EXPECT_GT(plan.unshared_bytes, 24U * 4 * kAlignment);
  EXPECT_LE(plan.scratch_bytes, 4 * kAlignment);
}

TEST(MemoryPlan, ActivationsWorkInPlaceAndReshapesMoveNothing) {
  GraphWriter w;
  const ValueId x = w.Input("x", {2, 3});
  const ValueId a = w.Node("a", Softmax{1, 2}, {x}, {2, 3});
  const ValueId b = w.Node("b", Reshape{}, {a}, {6});
  const ValueId c = w.Node("c", kRelu, {b}, {6});
  const ValueId d = w.Node("d", kAdd, {c, x}, {2, 3});
  const Graph graph = w.Finish({d});
  const MemoryPlan plan = PlanMemory(graph);
  EXPECT_FALSE(SamePlace(plan, x, a)) << "x is still read by d";
  EXPECT_TRUE(SamePlace(plan, a, b));
  EXPECT_TRUE(SamePlace(plan, b, c));
}

TEST(MemoryPlan, AnAdditionOfATensorToItselfIsNotInPlace) {
  GraphWriter w;
  const ValueId x = w.Input("x", {2});
  const ValueId y = w.Node("y", kAdd, {x, x}, {2});
  const Graph graph = w.Finish({y});
  EXPECT_FALSE(SamePlace(PlanMemory(graph), x, y));
}

TEST(MemoryPlan, OutputsHaveAVariableOfExactlyTheirSize) {
  GraphWriter w;
  const ValueId x = w.Input("x", {3});
  const ValueId y = w.Node("y", kRelu, {x}, {3});
  const ValueId z = w.Node("z", kRelu, {y}, {3});
  const Graph graph = w.Finish({y, z});
  const MemoryPlan plan = PlanMemory(graph);
  for (ValueId output : {y, z}) {
    const Placement place = plan.ScratchOf(output);
    EXPECT_EQ(plan.variables[place.var_id].size, 12U);
    EXPECT_EQ(place.offset, 0U);
  }
  EXPECT_NE(plan.ScratchOf(y).var_id, plan.ScratchOf(z).var_id);
}

TEST(MemoryPlan, OnlyWhatPeMultipliesByIsRounded) {
  GraphWriter w;
  const ValueId x = w.Input("x", {2, 2});
  const ValueId shared = w.Constant("shared", {2, 2});
  const ValueId bias = w.Constant("bias", {2});
  const ValueId unused = w.Constant("unused", {1000});
  const ValueId a = w.Node("a", MatMul{}, {x, shared, bias}, {2, 2});
  const ValueId b = w.Node("b", kAdd, {a, shared}, {2, 2});
  Graph graph = w.Finish({b});
  CastProducts(graph);
  const MemoryPlan plan = PlanMemory(graph);
  EXPECT_TRUE(plan.files.contains({shared, DType::kBFloat16}));
  EXPECT_TRUE(plan.files.contains({shared, DType::kFloat32}));
  EXPECT_TRUE(plan.files.contains({bias, DType::kFloat32}));
  EXPECT_FALSE(plan.files.contains({bias, DType::kBFloat16}));
  EXPECT_FALSE(plan.files.contains({unused, DType::kFloat32}));
  EXPECT_EQ(plan.weight_bytes, 8U + 16U + 8U);
}

TEST(MemoryPlan, InputsThatNobodyReadsHaveNoVariable) {
  GraphWriter w;
  const ValueId x = w.Input("x", {2});
  const ValueId unused = w.Input("unused", {2});
  const Graph graph = w.Finish({w.Node("y", kRelu, {x}, {2})});
  const MemoryPlan plan = PlanMemory(graph);
  EXPECT_TRUE(plan.input_variables.contains(x));
  EXPECT_FALSE(plan.input_variables.contains(unused));
  EXPECT_FALSE(plan.scratch[unused]);
}

TEST(MemoryPlan, NamesOfTensorsNeverClashWithItsOwn) {
  GraphWriter w;
  const ValueId x = w.Input("scratch", {2});
  const ValueId a = w.Node("a", Softmax{0, 1}, {x}, {2});
  const ValueId b = w.Node("scratch:y", kAdd, {a, x}, {2});
  const Graph graph = w.Finish({b});
  std::set<std::string> names;
  for (const PlannedVariable& variable : PlanMemory(graph).variables)
    EXPECT_TRUE(names.insert(variable.name).second) << variable.name;
  EXPECT_TRUE(names.contains("scratch"));
  EXPECT_TRUE(names.contains("scratch:y"));
}

}  // namespace
}  // namespace nrtd::compiler
