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
        op, {Tensor(DType::kInt8, {rows, 3}, std::move(bytes)), Tensor(DType::kInt8, {2}, "tt")},
        [this](const std::vector<Tensor>& inputs) -> Result<std::vector<Tensor>> {
          pieces_.push_back(inputs[0].bytes());
          EXPECT_EQ(inputs[1].bytes(), "tt");
          return std::vector<Tensor>{
              Tensor(DType::kInt8, {2, 1}, {inputs[0].bytes()[0], inputs[0].bytes()[3]})};
        });
  }
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
