// SPDX-License-Identifier: Apache-2.0
#include "compiler/batches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/compiler/cases.h"

namespace nrtd::compiler {
namespace {

using Batches = std::map<std::string, uint32_t>;
const Batches kTwo{{"x", 2}, {"y", 2}};

// y is made of x [2,3] and, second, of what all rows share.
Batches Of(Operation operation, Shape to, Shape shared = {}, std::vector<float> values = {}) {
  GraphWriter w;
  std::vector<ValueId> inputs{w.Input("x", {2, 3})};
  if (!shared.empty()) inputs.push_back(w.Constant("shared", shared, std::move(values)));
  const ValueId y = w.Node("y", std::move(operation), inputs, std::move(to));
  return BatchesOf(w.Finish({y}));
}

TEST(BatchesOf, RowsThatStayApartAreRequests) {
  EXPECT_EQ(Of(kRelu, {2, 3}), kTwo);
  EXPECT_EQ(Of(Softmax{1, 2}, {2, 3}), kTwo);
  EXPECT_EQ(Of(kAdd, {2, 3}, {3}), kTwo);
  EXPECT_EQ(Of(kAdd, {2, 3}, {2, 3}, {1, 2, 3, 1, 2, 3}), kTwo);
  EXPECT_EQ(Of(MatMul{}, {2, 4}, {3, 4}), kTwo);
  EXPECT_EQ(Of(Reshape{}, {2, 1, 3}), kTwo);
  EXPECT_EQ(Of(Reduce{sim::Reduction::kSum, {2, 1}}, {2}), kTwo);
}

TEST(BatchesOf, RowsThatMeetAreNot) {
  EXPECT_TRUE(Of(Softmax{0, 2}, {2, 3}).empty());
  EXPECT_TRUE(Of(Reshape{}, {3, 2}).empty());
  EXPECT_TRUE(Of(Reduce{sim::Reduction::kSum, {1, 3}}, {3}).empty());
  EXPECT_TRUE(Of(kAdd, {2, 2, 3}, {2, 1, 1}).empty());
  // Its rows change places.
  EXPECT_TRUE(
      Of(Rearrange{{{0, {1, 3}, 0, {3, 1}, 3, {3, 1}}, {0, {1, 3}, 3, {3, 1}, 0, {3, 1}}}}, {2, 3})
          .empty());
}

TEST(BatchesOf, RowsThatAreTreatedDifferentlyAreNot) {
  EXPECT_TRUE(Of(kAdd, {2, 3}, {2, 3}, {1, 2, 3, 4, 5, 6}).empty());
}

TEST(BatchesOf, ProductsOfRowsAreNot) {
  GraphWriter w;
  const ValueId x = w.Input("x", {2, 2});
  const ValueId left = w.Constant("left", {2, 2});
  EXPECT_TRUE(BatchesOf(w.Finish({w.Node("y", MatMul{}, {left, x}, {2, 2})})).empty());
}

// Two inputs of a network that multiplies each batch by its own matrix, and one by all of them.
TEST(BatchesOf, MatricesOfEachRowAreItsOwn) {
  GraphWriter w;
  const ValueId a = w.Input("a", {2, 3, 4});
  const ValueId b = w.Input("b", {2, 4, 5});
  EXPECT_EQ(BatchesOf(w.Finish({w.Node("y", MatMul{}, {a, b}, {2, 3, 5})})),
            (Batches{{"a", 2}, {"b", 2}, {"y", 2}}));
  GraphWriter other;
  const ValueId c = other.Input("c", {2, 4});
  const ValueId d = other.Input("d", {2, 4, 5});
  EXPECT_TRUE(BatchesOf(other.Finish({other.Node("y", MatMul{}, {c, d}, {2, 2, 5})})).empty());
}

TEST(BatchesOf, ARowOfIndicesIsARequest) {
  GraphWriter w;
  const ValueId table = w.Constant("table", {9, 4});
  const ValueId x = w.Input("x", {2, 6});
  const ValueId y = w.Node("y", Gather{0}, {table, x}, {2, 6, 4});
  const ValueId first = w.Constant("first", {}, {0});
  EXPECT_EQ(BatchesOf(w.Finish({w.Node("z", Gather{1}, {y, first}, {2, 4})})),
            (Batches{{"x", 2}, {"z", 2}}));
  EXPECT_TRUE(
      BatchesOf(w.Finish({w.Node("all", Gather{0}, {y, w.Constant("two", {2})}, {2, 6, 4})}))
          .empty());
}

}  // namespace
}  // namespace nrtd::compiler
