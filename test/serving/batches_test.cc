// SPDX-License-Identifier: Apache-2.0
#include "serving/neuron/batches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/must.h"

namespace nrtd::serving {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Compiled for two rows of three bytes; answers with the first byte of each.
op::Neuron FirstOfRow() {
  op::Neuron op;
  op.inputs = {{"x", DType::kInt8, {2, 3}, 0}, {"table", DType::kInt8, {2}, -1}};
  op.outputs = {{"y", DType::kInt8, {2, 1}, 0}};
  return op;
}

class BatchesTest : public ::testing::Test {
 protected:
  Result<std::vector<Tensor>> Run(const op::Neuron& op, int64_t rows, std::string bytes) {
    return RunInBatches(
        op, compiled_,
        {Tensor(DType::kInt8, {rows, 3}, std::move(bytes)), Tensor(DType::kInt8, {2}, "tt")},
        [this](int64_t batch, const std::vector<Tensor>& inputs) -> Result<std::vector<Tensor>> {
          pieces_.push_back(inputs[0].bytes());
          EXPECT_EQ(inputs[0].shape()[0], batch);
          EXPECT_EQ(inputs[1].bytes(), "tt");
          std::string firsts;
          for (int64_t row = 0; row < batch; ++row)
            firsts += inputs[0].bytes()[static_cast<size_t>(row * 3)];
          return std::vector<Tensor>{Tensor(DType::kInt8, {batch, 1}, std::move(firsts))};
        });
  }
  std::vector<int64_t> compiled_{2};
  std::vector<std::string> pieces_;
};

TEST_F(BatchesTest, TheCompiledSizeGoesAsItIs) {
  EXPECT_EQ(Must(Run(FirstOfRow(), 2, "abcdef"))[0].bytes(), "ad");
  EXPECT_THAT(pieces_, ElementsAre("abcdef"));
}

TEST_F(BatchesTest, OthersAreSplitAndFilledUp) {
  const auto outputs = Must(Run(FirstOfRow(), 5, "abcdefghijklmno"));
  EXPECT_THAT(outputs[0].shape(), ElementsAre(5, 1));
  EXPECT_EQ(outputs[0].bytes(), "adgjm");
  EXPECT_THAT(pieces_, ElementsAre("abcdef", "ghijkl", std::string("mno\0\0\0", 6)));
}

TEST_F(BatchesTest, ASmallerOneIsFilledUp) {
  EXPECT_EQ(Must(Run(FirstOfRow(), 1, "abc"))[0].bytes(), "a");
}

TEST_F(BatchesTest, OfSeveralSizesThoseThatCostLeast) {
  compiled_ = {1, 4};
  EXPECT_EQ(Must(Run(FirstOfRow(), 6, "abcdefghijklmnopqr"))[0].bytes(), "adgjmp");
  EXPECT_THAT(pieces_, ElementsAre("abcdefghijkl", "mno", "pqr"));
  const auto pieces = [&](int64_t rows) {
    std::vector<int64_t> sizes;
    for (int64_t left = rows; left > 0; left -= sizes.back())
      sizes.push_back(NextPiece(left, compiled_));
    return sizes;
  };
  EXPECT_THAT(pieces(1), ElementsAre(1));
  EXPECT_THAT(pieces(2), ElementsAre(1, 1));
  EXPECT_THAT(pieces(3), ElementsAre(4));  // as three runs would cost more than a row in vain
  EXPECT_THAT(pieces(9), ElementsAre(4, 4, 1));
  compiled_ = {2, 3, 16};
  EXPECT_THAT(pieces(1), ElementsAre(2));
  EXPECT_THAT(pieces(5), ElementsAre(3, 2));
  EXPECT_THAT(pieces(15), ElementsAre(16));
}

TEST_F(BatchesTest, WhatDoesNotFitIsRefused) {
  EXPECT_THAT(Run(FirstOfRow(), 0, "").error().text, HasSubstr("a batch of 0"));
  op::Neuron fixed = FirstOfRow();
  fixed.outputs[0].batch_axis = -1;
  EXPECT_THAT(Run(fixed, 3, "abcdefghi").error().text, HasSubstr("'y' has no batch axis"));
  op::Neuron wider = FirstOfRow();
  wider.inputs[0].shape = {2, 4};
  EXPECT_THAT(Run(wider, 2, "abcdef").error().text, HasSubstr("the network takes int8 [-1,4]"));
  op::Neuron other = FirstOfRow();
  other.inputs[0].dtype = DType::kUInt8;
  EXPECT_THAT(Run(other, 2, "abcdef").error().text, HasSubstr("input 'x' is int8 [2,3]"));
  op::Neuron both = FirstOfRow();
  both.inputs[1].batch_axis = 0;
  EXPECT_THAT(Run(both, 3, "abcdefghi").error().text, HasSubstr("'table' has a batch of 2"));
  EXPECT_TRUE(pieces_.empty());
}

}  // namespace
}  // namespace nrtd::serving
