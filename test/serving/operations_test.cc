// SPDX-License-Identifier: Apache-2.0
#include "serving/graph/operations.h"

#include <cmath>
#include <cstring>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/must.h"
#include "test/serving/tensors.h"

namespace nrtd::serving {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// 0, 1, 2, ...
Tensor Counting(Shape shape) {
  std::vector<int32_t> elements(*ElementCount(shape));
  for (size_t i = 0; i < elements.size(); ++i) elements[i] = static_cast<int32_t>(i);
  return Ints(std::move(shape), elements);
}

Tensor RunOne(const Operation& operation, const std::vector<Tensor>& inputs) {
  auto outputs = Must(RunOperation(operation, inputs));
  EXPECT_EQ(outputs.size(), 1U);
  return outputs.at(0);
}
std::string ErrorOf(const Operation& operation, const std::vector<Tensor>& inputs) {
  const auto outputs = RunOperation(operation, inputs);
  return outputs ? "" : outputs.error().text;
}

TEST(OperationsTest, ReshapeFindsTheOpenDimension) {
  const Tensor data = Counting({2, 6});
  EXPECT_THAT(RunOne(op::Reshape{}, {data, Ints({2}, {4, -1})}).shape(), ElementsAre(4, 3));
  EXPECT_THAT(ErrorOf(op::Reshape{}, {data, Ints({2}, {5, -1})}), HasSubstr("does not fit"));
  EXPECT_THAT(ErrorOf(op::Reshape{}, {data, Ints({2}, {-1, -1})}), HasSubstr("does not fit"));
  EXPECT_THAT(ErrorOf(op::Reshape{}, {data, Ints({1}, {-12})}), HasSubstr("does not fit"));
}

TEST(OperationsTest, SoftmaxOfRowsWithoutOverflow) {
  const Tensor result = RunOne(op::Softmax{}, {Floats({2, 2}, {1000, 1000, 0, std::log(3.0F)})});
  EXPECT_THAT(ElementsOf<float>(result),
              ElementsAre(0.5F, 0.5F, ::testing::FloatEq(0.25F), ::testing::FloatEq(0.75F)));
}

TEST(OperationsTest, ArgMaxAlongAnyAxis) {
  const Tensor data = Floats({2, 3}, {1, 5, 5, 7, 0, 2});
  EXPECT_THAT(ElementsOf<int64_t>(RunOne(op::ArgMax{DType::kInt64}, {data, Ints({}, {1})})),
              ElementsAre(1, 0));
  EXPECT_THAT(ElementsOf<int32_t>(RunOne(op::ArgMax{DType::kInt32}, {data, Ints({}, {-2})})),
              ElementsAre(1, 0, 0));
  EXPECT_THAT(ErrorOf(op::ArgMax{DType::kInt32}, {data, Ints({}, {2})}), HasSubstr("axis 2"));
}

TEST(OperationsTest, SqueezeAndExpandDimsAreEachOthersReverse) {
  const Tensor data = Counting({2, 3});
  const Tensor wide = RunOne(op::ExpandDims{}, {data, Ints({}, {-1})});
  EXPECT_THAT(wide.shape(), ElementsAre(2, 3, 1));
  EXPECT_THAT(RunOne(op::Squeeze{{-1}}, {wide}).shape(), ElementsAre(2, 3));
  EXPECT_THAT(RunOne(op::Squeeze{}, {Counting({1, 4, 1})}).shape(), ElementsAre(4));
  EXPECT_THAT(ErrorOf(op::Squeeze{{0}}, {data}), HasSubstr("is not 1"));
}

TEST(OperationsTest, PackAndConcatPutTensorsSideBySide) {
  const Tensor a = Ints({2}, {1, 2});
  const Tensor b = Ints({2}, {3, 4});
  const Tensor packed = RunOne(op::Pack{1}, {a, b});
  EXPECT_THAT(packed.shape(), ElementsAre(2, 2));
  EXPECT_THAT(ElementsOf<int32_t>(packed), ElementsAre(1, 3, 2, 4));
  const Tensor joined = RunOne(op::Concat{}, {Counting({2, 1}), Counting({2, 2}), Ints({}, {-1})});
  EXPECT_THAT(joined.shape(), ElementsAre(2, 3));
  EXPECT_THAT(ElementsOf<int32_t>(joined), ElementsAre(0, 0, 1, 1, 2, 3));
  EXPECT_THAT(ErrorOf(op::Concat{}, {Counting({2, 1}), Counting({3, 1}), Ints({}, {1})}),
              HasSubstr("beside"));
}

TEST(OperationsTest, TransposeChecksItsPermutation) {
  const Tensor result = RunOne(op::Transpose{}, {Counting({2, 3}), Ints({2}, {1, 0})});
  EXPECT_THAT(result.shape(), ElementsAre(3, 2));
  EXPECT_THAT(ElementsOf<int32_t>(result), ElementsAre(0, 3, 1, 4, 2, 5));
  EXPECT_THAT(ErrorOf(op::Transpose{}, {Counting({2, 3}), Ints({2}, {0, 0})}), HasSubstr("twice"));
  EXPECT_THAT(ErrorOf(op::Transpose{}, {Counting({2, 3}), Ints({1}, {0})}),
              HasSubstr("permutation of 1"));
}

TEST(OperationsTest, StridedSliceTakesItsMasksIntoAccount) {
  const Tensor data = Counting({3, 4});
  // [1:, ::-2]
  EXPECT_THAT(
      ElementsOf<int32_t>(RunOne(op::StridedSlice{2, 3, 0, 0, 0},
                                 {data, Ints({2}, {1, 0}), Ints({2}, {0, 0}), Ints({2}, {1, -2})})),
      ElementsAre(7, 5, 11, 9));
  // [-1]: the last row, without its dimension
  const Tensor row = RunOne(op::StridedSlice{0, 0, 0, 0, 1},
                            {data, Ints({1}, {-1}), Ints({1}, {0}), Ints({1}, {1})});
  EXPECT_THAT(row.shape(), ElementsAre(4));
  EXPECT_THAT(ElementsOf<int32_t>(row), ElementsAre(8, 9, 10, 11));
  // [..., 0]
  EXPECT_THAT(
      ElementsOf<int32_t>(RunOne(op::StridedSlice{0, 0, 1, 0, 2},
                                 {data, Ints({2}, {0, 0}), Ints({2}, {0, 1}), Ints({2}, {1, 1})})),
      ElementsAre(0, 4, 8));
  // [newaxis]
  EXPECT_THAT(RunOne(op::StridedSlice{0, 0, 0, 1, 0},
                     {data, Ints({1}, {0}), Ints({1}, {1}), Ints({1}, {1})})
                  .shape(),
              ElementsAre(1, 3, 4));
  // Nothing is left, and nothing beyond the end is there.
  EXPECT_THAT(
      RunOne(op::StridedSlice{}, {data, Ints({1}, {2}), Ints({1}, {1}), Ints({1}, {1})}).shape(),
      ElementsAre(0, 4));
  EXPECT_THAT(ErrorOf(op::StridedSlice{0, 0, 0, 0, 1},
                      {data, Ints({1}, {3}), Ints({1}, {4}), Ints({1}, {1})}),
              HasSubstr("slice index 3"));
  EXPECT_THAT(ErrorOf(op::StridedSlice{}, {data, Ints({1}, {0}), Ints({1}, {1}), Ints({1}, {0})}),
              HasSubstr("stride 0"));
}

TEST(OperationsTest, CastsKeepToWhatTheTypeHolds) {
  const float infinity = std::numeric_limits<float>::infinity();
  const Tensor data = Floats({5}, {1.9F, -1.9F, 300, NAN, -infinity});
  EXPECT_THAT(ElementsOf<int8_t>(Must(CastTo(data, DType::kInt8))),
              ElementsAre(1, -1, 127, 0, -128));
  EXPECT_THAT(ElementsOf<uint8_t>(Must(CastTo(data, DType::kBool))), ElementsAre(1, 1, 1, 1, 1));
  const Tensor half = Must(CastTo(Floats({1}, {1.5F}), DType::kFloat16));
  EXPECT_THAT(ElementsOf<float>(Must(CastTo(half, DType::kFloat32))), ElementsAre(1.5F));
  EXPECT_THAT(ElementsOf<int64_t>(Must(CastTo(Floats({1}, {1e30F}), DType::kInt64))),
              ElementsAre(std::numeric_limits<int64_t>::max()));
}

TEST(OperationsTest, ShapeIsATensor) {
  EXPECT_THAT(ElementsOf<int32_t>(RunOne(op::ShapeOf{DType::kInt32}, {Counting({2, 3})})),
              ElementsAre(2, 3));
}

}  // namespace
}  // namespace nrtd::serving
