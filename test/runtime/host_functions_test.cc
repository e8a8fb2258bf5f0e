// SPDX-License-Identifier: Apache-2.0
#include "runtime/host/host_functions.h"

#include <cmath>
#include <cstring>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nrtd::runtime {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

HostTensorType TypeOf(DType dtype, Shape shape) {
  const uint64_t bytes = *ElementCount(shape) * DTypeSize(dtype);
  return {dtype, std::move(shape), bytes};
}

HostSignature From(HostTensorType in, HostTensorType out,
                   std::map<std::string, std::string> attributes = {}) {
  return {{std::move(in)}, {std::move(out)}, std::move(attributes)};
}

std::string Refused(const std::string& name, const HostSignature& signature) {
  const auto kernel = PrepareHostFunction(name, signature);
  EXPECT_FALSE(kernel) << name;
  return kernel ? "" : kernel.error().text;
}

// At odd addresses, as tensors may lie.
template <typename To, typename From_>
std::vector<To> Apply(const std::string& name, const HostSignature& signature,
                      const std::vector<From_>& values) {
  const auto kernel = PrepareHostFunction(name, signature);
  EXPECT_TRUE(kernel) << kernel.error().text;
  if (!kernel) return {};
  ByteVector in(values.size() * sizeof(From_) + 1);
  std::memcpy(in.data() + 1, values.data(), in.size() - 1);
  ByteVector out(signature.outputs[0].bytes + 1);
  const ByteSpan inputs[] = {ByteSpan(in).subspan(1)};
  const MutableByteSpan outputs[] = {MutableByteSpan(out).subspan(1)};
  (*kernel)(inputs, outputs);
  std::vector<To> result(signature.outputs[0].bytes / sizeof(To));
  std::memcpy(result.data(), out.data() + 1, out.size() - 1);
  return result;
}

TEST(HostFunctions, ReshapeKeepsTheBytes) {
  const auto signature = From(TypeOf(DType::kFloat32, {2, 3}), TypeOf(DType::kFloat32, {6}));
  EXPECT_THAT((Apply<float, float>("nrt_reshape", signature, {1, 2, 3, 4, 5, 6})),
              ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(Refused("__nop", From(TypeOf(DType::kFloat32, {2}), TypeOf(DType::kFloat32, {3}))),
              HasSubstr("the size of its input"));
  EXPECT_THAT(Refused("__nop", From(TypeOf(DType::kFloat32, {2}), TypeOf(DType::kInt32, {2}))),
              HasSubstr("the type"));
}

TEST(HostFunctions, CastsGoToTheNearestValueThatFits) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto to_int = From(TypeOf(DType::kFloat32, {6}), TypeOf(DType::kInt32, {6}));
  EXPECT_THAT((Apply<int32_t, float>("nrt_cast", to_int, {1.9F, -1.9F, 3e9F, -3e9F, nan, 0})),
              ElementsAre(1, -1, INT32_MAX, INT32_MIN, 0, 0));
  const auto to_long = From(TypeOf(DType::kFloat32, {2}), TypeOf(DType::kInt64, {2}));
  EXPECT_THAT((Apply<int64_t, float>("nrt_cast", to_long, {1e20F, -1e20F})),
              ElementsAre(INT64_MAX, INT64_MIN));
  const auto to_float = From(TypeOf(DType::kInt32, {2}), TypeOf(DType::kFloat32, {2}));
  EXPECT_THAT((Apply<float, int32_t>("nrt_cast", to_float, {-5, 7})), ElementsAre(-5, 7));
  EXPECT_THAT(Refused("nrt_cast", From(TypeOf(DType::kBool, {1}), TypeOf(DType::kInt32, {1}))),
              HasSubstr("does not cast from bool"));
  EXPECT_THAT(Refused("nrt_cast", From(TypeOf(DType::kInt32, {1}), TypeOf(DType::kInt32, {2}))),
              HasSubstr("the shape of its input"));
}

// As Copy of the instruction set does, and ONNX Runtime: once, it depended on where a cast ran.
TEST(HostFunctions, CastsBetweenIntegersWrapAround) {
  const auto to_byte = From(TypeOf(DType::kInt64, {3}), TypeOf(DType::kUInt8, {3}));
  EXPECT_THAT((Apply<uint8_t, int64_t>("nrt_cast", to_byte, {-1, 300, 7})),
              ElementsAre(255, 44, 7));
  const auto to_int = From(TypeOf(DType::kInt64, {1}), TypeOf(DType::kInt32, {1}));
  EXPECT_THAT((Apply<int32_t, int64_t>("nrt_cast", to_int, {(int64_t{1} << 32) + 5})),
              ElementsAre(5));
}

TEST(HostFunctions, TransposeTakesAxesOrReversesThem) {
  const auto matrix = From(TypeOf(DType::kFloat32, {2, 3}), TypeOf(DType::kFloat32, {3, 2}));
  EXPECT_THAT((Apply<float, float>("nrt_transpose", matrix, {1, 2, 3, 4, 5, 6})),
              ElementsAre(1, 4, 2, 5, 3, 6));
  const auto cube =
      From(TypeOf(DType::kUInt8, {2, 1, 3}), TypeOf(DType::kUInt8, {2, 3, 1}), {{"axes", "0,2,1"}});
  EXPECT_THAT((Apply<uint8_t, uint8_t>("nrt_transpose", cube, {1, 2, 3, 4, 5, 6})),
              ElementsAre(1, 2, 3, 4, 5, 6));
  const auto turned =
      From(TypeOf(DType::kUInt8, {2, 1, 3}), TypeOf(DType::kUInt8, {3, 2, 1}), {{"axes", "2,0,1"}});
  EXPECT_THAT((Apply<uint8_t, uint8_t>("nrt_transpose", turned, {1, 2, 3, 4, 5, 6})),
              ElementsAre(1, 4, 2, 5, 3, 6));
  for (const char* axes : {"0", "0,0", "0,2", "x", "0,1,2", "-1,0"}) {
    EXPECT_THAT(Refused("nrt_transpose", From(TypeOf(DType::kFloat32, {2, 3}),
                                              TypeOf(DType::kFloat32, {2, 3}), {{"axes", axes}})),
                HasSubstr("its axes"))
        << axes;
  }
  EXPECT_THAT(Refused("nrt_transpose",
                      From(TypeOf(DType::kFloat32, {2, 3}), TypeOf(DType::kFloat32, {2, 3}))),
              HasSubstr("the transposed shape"));
}

TEST(HostFunctions, ArgMaxIsTheFirstOfTheLargestAndNanIsLargest) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto signature = From(TypeOf(DType::kFloat32, {3, 3}), TypeOf(DType::kInt64, {3}));
  EXPECT_THAT((Apply<int64_t, float>("nrt_argmax", signature, {1, 3, 3, -2, -1, -3, 5, nan, 9})),
              ElementsAre(1, 1, 1));
  EXPECT_THAT(
      Refused("nrt_argmax", From(TypeOf(DType::kFloat32, {3, 0}), TypeOf(DType::kInt64, {3}))),
      HasSubstr("no elements"));
  EXPECT_THAT(
      Refused("nrt_argmax", From(TypeOf(DType::kFloat32, {3, 3}), TypeOf(DType::kInt32, {3}))),
      HasSubstr("makes int64"));
}

TEST(HostFunctions, ArgMinAndArgMaxGoAlongAnyAxis) {
  const auto along = [](const char* axis, Shape to) {
    return From(TypeOf(DType::kInt32, {2, 3}), TypeOf(DType::kInt64, std::move(to)),
                {{"axis", axis}});
  };
  EXPECT_THAT((Apply<int64_t, int32_t>("nrt_argmax", along("0", {3}), {1, 5, 2, 4, 0, 2})),
              ElementsAre(1, 0, 0));
  EXPECT_THAT((Apply<int64_t, int32_t>("nrt_argmin", along("1", {2, 1}), {1, 5, 2, 4, 0, 2})),
              ElementsAre(0, 1));
  EXPECT_THAT(Refused("nrt_argmin", along("2", {2})), HasSubstr("its axis '2' is not 0 to 1"));
  EXPECT_THAT(Refused("nrt_argmin", along("x", {2})), HasSubstr("its axis 'x'"));
}

TEST(HostFunctions, TopKSortsAndTellsWhereThingsWere) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto values = From(TypeOf(DType::kFloat32, {5}), TypeOf(DType::kFloat32, {3}));
  EXPECT_THAT((Apply<float, float>("nrt_topk", values, {3, 1, 9, 3, -1})), ElementsAre(9, 3, 3));
  const auto places = From(TypeOf(DType::kFloat32, {5}), TypeOf(DType::kInt64, {3}));
  EXPECT_THAT((Apply<int64_t, float>("nrt_topk", places, {3, 1, nan, 3, -1})),
              ElementsAre(2, 0, 3));
  const auto smallest =
      From(TypeOf(DType::kFloat32, {5}), TypeOf(DType::kInt64, {2}), {{"largest", "0"}});
  EXPECT_THAT((Apply<int64_t, float>("nrt_topk", smallest, {3, 1, 9, 3, -1})), ElementsAre(4, 1));
  EXPECT_THAT(Refused("nrt_topk", From(TypeOf(DType::kFloat32, {5}), TypeOf(DType::kFloat32, {6}))),
              HasSubstr("k is 6, but there are 5"));
  EXPECT_THAT(Refused("nrt_topk", From(TypeOf(DType::kInt64, {5}), TypeOf(DType::kInt64, {2}))),
              HasSubstr("float32 or int32"));
}

TEST(HostFunctions, AFunctionOfAnElementThatIsNotThereIsNamed) {
  const auto signature =
      From(TypeOf(DType::kFloat32, {2}), TypeOf(DType::kFloat32, {2}), {{"function", "sinh"}});
  EXPECT_THAT(Refused("nrt_elementwise", signature), HasSubstr("its function 'sinh' is not sin"));
}

TEST(HostFunctions, TwoInputsAreTooMany) {
  HostSignature signature = From(TypeOf(DType::kFloat32, {1}), TypeOf(DType::kFloat32, {1}));
  signature.inputs.push_back(signature.inputs[0]);
  for (const char* name : {"__nop", "nrt_cast", "nrt_transpose", "nrt_argmax"})
    EXPECT_THAT(Refused(name, signature), HasSubstr("one input")) << name;
}

// A dimension of 0 hides how large the others are, and loops over those once did not end.
TEST(HostFunctions, ATensorWithoutElementsIsRefused) {
  constexpr int64_t kHuge = int64_t{1} << 62;
  const HostTensorType in{DType::kFloat32, {kHuge, 1, 0}, 0};
  const HostTensorType kept{DType::kInt64, {kHuge, 1, 0}, 0};
  EXPECT_THAT(Refused("nrt_argmax", From(in, kept, {{"axis", "1"}})), HasSubstr("no elements"));
  for (const char* name : {"__nop", "nrt_cast", "nrt_transpose", "nrt_cumsum", "nrt_elementwise"})
    EXPECT_THAT(Refused(name, From(in, in)), HasSubstr("no elements")) << name;
}

TEST(HostFunctions, OneThatNobodyKnowsIsNamedWithThoseThatThereAre) {
  const auto kernel = PrepareHostFunction("fused_softmax", {});
  ASSERT_FALSE(kernel);
  EXPECT_EQ(kernel.error().code, Nerr::kUnsupportedVersion);
  EXPECT_THAT(kernel.error().text, HasSubstr("'fused_softmax' of the host CPU is not known here"));
  EXPECT_THAT(kernel.error().text, HasSubstr("nrt_transpose"));
}

}  // namespace
}  // namespace nrtd::runtime
