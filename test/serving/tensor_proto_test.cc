// SPDX-License-Identifier: Apache-2.0
#include "serving/tensor/tensor_proto.h"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/must.h"

namespace nrtd::serving {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

tensorflow::TensorProto Proto(tensorflow::DataType type, const Shape& shape) {
  tensorflow::TensorProto proto;
  proto.set_dtype(type);
  SetShape(shape, proto.mutable_tensor_shape());
  return proto;
}
std::vector<float> FloatsOf(const Tensor& tensor) {
  std::vector<float> elements(tensor.bytes().size() / sizeof(float));
  std::memcpy(elements.data(), tensor.bytes().data(), tensor.bytes().size());
  return elements;
}
std::string ErrorOf(tensorflow::TensorProto proto) {
  const auto tensor = TakeTensor(proto);
  return tensor ? "" : tensor.error().text;
}

constexpr DType kAllTypes[] = {DType::kFloat32, DType::kBFloat16, DType::kFloat16, DType::kInt8,
                               DType::kUInt8,   DType::kInt16,    DType::kUInt16,  DType::kInt32,
                               DType::kUInt32,  DType::kInt64,    DType::kUInt64,  DType::kBool,
                               DType::kFloat64};

TEST(TensorProtoTest, EveryTypeSurvivesBothForms) {
  for (const DType dtype : kAllTypes) {
    std::string bytes(3 * DTypeSize(dtype), '\0');
    for (size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = dtype == DType::kBool ? static_cast<char>(i % 2) : static_cast<char>(37 * i + 1);
    const Tensor tensor = Must(Tensor::Make(dtype, {3}, bytes));
    tensorflow::TensorProto typed;
    SetTyped(tensor, &typed);
    EXPECT_TRUE(typed.tensor_content().empty());
    const Tensor from_typed = Must(TakeTensor(typed));
    EXPECT_EQ(from_typed.dtype(), dtype);
    EXPECT_EQ(from_typed.bytes(), bytes) << DTypeName(dtype);
    auto content = Proto(DataTypeOf(dtype), {3});
    content.set_tensor_content(bytes);
    EXPECT_EQ(Must(TakeTensor(content)).bytes(), bytes);
    EXPECT_EQ(DTypeOf(DataTypeOf(dtype)), dtype);
  }
}

TEST(TensorProtoTest, TheLastValueRepeatsAndNoneIsZero) {
  auto proto = Proto(tensorflow::DT_FLOAT, {4});
  EXPECT_THAT(FloatsOf(Must(TakeTensor(proto))), ElementsAre(0, 0, 0, 0));
  proto.add_float_val(1);
  proto.add_float_val(2);
  EXPECT_THAT(FloatsOf(Must(TakeTensor(proto))), ElementsAre(1, 2, 2, 2));
}

TEST(TensorProtoTest, WhatDoesNotFitIsRefused) {
  auto proto = Proto(tensorflow::DT_FLOAT, {2});
  proto.set_tensor_content("12345");
  EXPECT_THAT(ErrorOf(proto), HasSubstr("tensor_content has 5 bytes"));
  auto more = Proto(tensorflow::DT_FLOAT, {1});
  more.add_float_val(1);
  more.add_float_val(2);
  EXPECT_THAT(ErrorOf(more), HasSubstr("2 values are given for 1"));
  EXPECT_THAT(ErrorOf(Proto(tensorflow::DT_FLOAT, {-1})), HasSubstr("negative or too large"));
  EXPECT_THAT(ErrorOf(Proto(tensorflow::DT_FLOAT, {int64_t{1} << 40, int64_t{1} << 40})),
              HasSubstr("negative or too large"));
  EXPECT_THAT(ErrorOf(Proto(tensorflow::DT_DOUBLE, {int64_t{1} << 30})),
              HasSubstr("negative or too large"));
  EXPECT_THAT(ErrorOf(Proto(tensorflow::DT_STRING, {1})), HasSubstr("DT_STRING"));
  EXPECT_THAT(ErrorOf(Proto(static_cast<tensorflow::DataType>(77), {1})), HasSubstr("DataType 77"));
  auto unknown = Proto(tensorflow::DT_FLOAT, {});
  unknown.mutable_tensor_shape()->set_unknown_rank(true);
  EXPECT_THAT(ErrorOf(unknown), HasSubstr("no known rank"));
}

TEST(TensorProtoTest, ElementsAreTakenWithoutACopyByTheLastOne) {
  Tensor tensor(DType::kInt8, {3}, "abc");
  const Tensor other = tensor;
  EXPECT_EQ(std::move(tensor).TakeBytes(), "abc");
  EXPECT_EQ(other.bytes(), "abc");
}

// A message of a few bytes once made the server fill gigabytes.
TEST(TensorProto, FewValuesDoNotBecomeMuchMemory) {
  tensorflow::TensorProto proto;
  proto.set_dtype(tensorflow::DT_FLOAT);
  proto.mutable_tensor_shape()->add_dim()->set_size(1 << 28);
  proto.add_float_val(1);
  EXPECT_THAT(TakeTensor(proto).error().text,
              ::testing::HasSubstr("1 values are given for 268435456 elements"));
}

}  // namespace
}  // namespace nrtd::serving
