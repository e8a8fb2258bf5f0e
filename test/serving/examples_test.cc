// SPDX-License-Identifier: Apache-2.0
#include "serving/service/examples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/must.h"
#include "test/serving/tensors.h"

namespace nrtd::serving {
namespace {

namespace tfs = ::tensorflow::serving;
using ::testing::HasSubstr;

Signature SignatureOf(DType dtype, Shape shape) {
  Signature signature;
  signature.inputs["x"].spec = {dtype, std::move(shape), false};
  return signature;
}

tensorflow::Feature FloatFeature(const std::vector<float>& values) {
  tensorflow::Feature feature;
  for (const float value : values) feature.mutable_float_list()->add_value(value);
  return feature;
}

void SetFeature(const std::string& name, const tensorflow::Feature& feature,
                tensorflow::Example* example) {
  (*example->mutable_features()->mutable_feature())[name] = feature;
}

TEST(TensorsOf, PutsTheFeatureOfEachExampleIntoARow) {
  tfs::Input input;
  SetFeature("x", FloatFeature({1, 2}), input.mutable_example_list()->add_examples());
  SetFeature("x", FloatFeature({3, 4}), input.mutable_example_list()->add_examples());
  const Tensors tensors = Must(TensorsOf(input, SignatureOf(DType::kFloat32, {-1, 2})));
  EXPECT_EQ(tensors.at("x").shape(), (Shape{2, 2}));
  EXPECT_THAT(ElementsOf<float>(tensors.at("x")), ::testing::ElementsAre(1, 2, 3, 4));
}

TEST(TensorsOf, TakesFromTheContextWhatAnExampleDoesNotHave) {
  tfs::Input input;
  auto& list = *input.mutable_example_list_with_context();
  SetFeature("x", FloatFeature({9}), list.mutable_context());
  list.add_examples();
  EXPECT_EQ(Must(TensorsOf(input, SignatureOf(DType::kFloat32, {-1, 1}))).at("x").shape(),
            (Shape{1, 1}));
}

TEST(TensorsOf, SaysWhatDoesNotFit) {
  tfs::Input input;
  const Signature signature = SignatureOf(DType::kFloat32, {-1, 2});
  EXPECT_EQ(TensorsOf(input, signature).error().text, "Input is empty.");
  auto* example = input.mutable_example_list()->add_examples();
  EXPECT_EQ(TensorsOf(input, signature).error().text, "example 0 has no feature 'x'");
  SetFeature("x", FloatFeature({1}), example);
  EXPECT_EQ(TensorsOf(input, signature).error().text,
            "feature 'x' has 1 values, and the signature takes 2");
  tensorflow::Feature bytes;
  bytes.mutable_bytes_list()->add_value("text");
  SetFeature("x", bytes, example);
  EXPECT_THAT(TensorsOf(input, signature).error().text, HasSubstr("no network takes bytes"));
  SetFeature("x", FloatFeature({1, 2}), example);
  EXPECT_THAT(TensorsOf(input, SignatureOf(DType::kInt32, {-1, 2})).error().text,
              HasSubstr("is int32"));
  EXPECT_THAT(TensorsOf(input, SignatureOf(DType::kFloat32, {-1, -1})).error().text,
              HasSubstr("no fixed size"));
  EXPECT_THAT(TensorsOf(input, SignatureOf(DType::kFloat32, {})).error().text,
              HasSubstr("has no batch"));
}

TEST(ClassesOf, AreTheScoresOfEachRow) {
  const Tensors outputs{{"scores", Floats({2, 2}, {0.25, 0.75, 1, 0})}};
  const auto result = Must(ClassesOf(outputs, 2));
  ASSERT_EQ(result.classifications_size(), 2);
  EXPECT_EQ(result.classifications(0).classes(1).score(), 0.75F);
  EXPECT_EQ(ClassesOf(outputs, 3).error().text, "Expected scores output batch size of 3. Got: 2");
  EXPECT_THAT(ValuesOf(outputs, 2).error().text, HasSubstr("[batch_size, 1] but got [2,2]"));
  const Tensors values{{"y", Floats({4}, {0.25, 0.75, 1, 0})}};
  EXPECT_EQ(Must(ValuesOf(values, 4)).regressions(2).value(), 1);
}

}  // namespace
}  // namespace nrtd::serving
