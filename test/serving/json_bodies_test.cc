// SPDX-License-Identifier: Apache-2.0
//
// Bodies of the REST API against the original's, byte for byte.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serving/rest/json_answers.h"
#include "serving/rest/json_inputs.h"
#include "test/must.h"
#include "test/serving/tensors.h"

namespace nrtd::serving {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

Signature SignatureOf(const std::map<std::string, DType>& inputs) {
  Signature signature;
  for (const auto& [name, dtype] : inputs) signature.inputs[name].spec.dtype = dtype;
  return signature;
}

JsonInputs Read(const std::string& body, const std::map<std::string, DType>& inputs) {
  const auto document = Must(ParseJson(body));
  return Must(InputsOf(document, "", SignatureOf(inputs)));
}
std::string ErrorOf(const std::string& body, const std::map<std::string, DType>& inputs) {
  auto document = ParseJson(body);
  if (!document) return document.error().text;
  const auto read = InputsOf(*document, "", SignatureOf(inputs));
  return read ? "none" : read.error().text;
}
std::string Rows(const Tensors& outputs) {
  return Must(PredictBody(JsonForm::kRow, outputs));
}
std::string Columns(const Tensors& outputs) {
  return Must(PredictBody(JsonForm::kColumn, outputs));
}

TEST(PredictBody, HasRowsInALineEach) {
  EXPECT_EQ(Rows({{"x", Floats({3}, {2.5, 3, 4.5})}}),
            "{\n    \"predictions\": [2.5, 3.0, 4.5\n    ]\n}");
  EXPECT_EQ(Rows({{"x", Floats({2, 3}, {1, 2, 3, 4, 5, 6})}}),
            "{\n    \"predictions\": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]\n    ]\n}");
  EXPECT_EQ(Rows({{"x", Floats({1, 2, 2}, {1, 2, 3, 4})}}),
            "{\n    \"predictions\": [[[1.0, 2.0], [3.0, 4.0]]\n    ]\n}");
  EXPECT_EQ(Rows({{"x", Floats({0, 2}, {})}}), "{\n    \"predictions\": []\n}");
}

TEST(PredictBody, HasObjectsForSeveralOutputs) {
  EXPECT_EQ(Rows({{"a", Floats({2, 2}, {1, 2, 3, 4})}, {"b", Ints({2}, {7, 8})}}), R"({
    "predictions": [
        {
            "a": [1.0, 2.0],
            "b": 7
        },
        {
            "a": [3.0, 4.0],
            "b": 8
        }
    ]
})");
}

TEST(PredictBody, HasColumnsWithAValueALine) {
  EXPECT_EQ(Columns({{"x", Floats({2, 2}, {1, 2, 3, 4})}}), R"({
    "outputs": [
        [
            1.0,
            2.0
        ],
        [
            3.0,
            4.0
        ]
    ]
})");
  EXPECT_EQ(Columns({{"x", Floats({}, {2.5})}}), "{\n    \"outputs\": 2.5\n}");
  EXPECT_EQ(Columns({{"a", Floats({1}, {1})}, {"b", Ints({1, 2}, {7, 8})}}), R"({
    "outputs": {
        "a": [
            1.0
        ],
        "b": [
            [
                7,
                8
            ]
        ]
    }
})");
}

TEST(PredictBody, HasNumbersAsTheOriginalPrintsThem) {
  EXPECT_EQ(DecimalText(0.1F), "0.1");
  EXPECT_EQ(DecimalText(3.0F), "3.0");
  EXPECT_EQ(DecimalText(1e6F), "1e+06");
  EXPECT_EQ(DecimalText(1234567.0F), "1234567.0");
  EXPECT_EQ(DecimalText(16777216.0F), "16777216.0");
  EXPECT_EQ(DecimalText(0.123456789F), "0.123456791");
  EXPECT_EQ(DecimalText(1e-5F), "1e-05");
  EXPECT_EQ(DecimalText(-0.0F), "-0.0");
  EXPECT_EQ(DecimalText(100000.0F), "100000.0");
  EXPECT_EQ(DecimalText(NAN), "NaN");
  EXPECT_EQ(DecimalText(-INFINITY), "-Infinity");
  EXPECT_EQ(DecimalText(0.1), "0.1");
  EXPECT_EQ(DecimalText(1.0 / 3), "0.33333333333333331");
  EXPECT_EQ(Rows({{"x", Floats({3}, {NAN, INFINITY, -INFINITY})}}),
            "{\n    \"predictions\": [NaN, Infinity, -Infinity\n    ]\n}");
  EXPECT_EQ(Rows({{"x", Make<uint8_t>(DType::kBool, {2}, {1, 0})}}),
            "{\n    \"predictions\": [true, false\n    ]\n}");
}

TEST(PredictBody, RefusesRowsThatAreNone) {
  EXPECT_EQ(PredictBody(JsonForm::kRow, {{"x", Floats({}, {1})}}).error().text,
            "Tensor name: x has no shape information ");
  EXPECT_EQ(PredictBody(JsonForm::kRow, {{"a", Floats({1}, {1})}, {"b", Floats({2}, {1, 2})}})
                .error()
                .text,
            "Tensor name: b has inconsistent batch size: 2 expecting: 1");
}

TEST(InputsOf, ReadsRowsOfOneInput) {
  const JsonInputs read =
      Read(R"({"instances": [[1, 2.5], [NaN, -Infinity]]})", {{"x", DType::kFloat32}});
  EXPECT_EQ(read.form, JsonForm::kRow);
  const Tensor& x = read.tensors.at("x");
  EXPECT_EQ(x.shape(), (Shape{2, 2}));
  const std::vector<float> values = ElementsOf<float>(x);
  EXPECT_EQ(values[0], 1);
  EXPECT_EQ(values[1], 2.5F);
  EXPECT_TRUE(std::isnan(values[2]));
  EXPECT_EQ(values[3], -INFINITY);
  EXPECT_EQ(Read(R"({"instances": [1, 2, 3]})", {{"x", DType::kInt64}}).tensors.at("x").shape(),
            Shape{3});
}

TEST(InputsOf, ReadsRowsOfSeveralInputs) {
  const JsonInputs read =
      Read(R"({"instances": [{"a": [1, 2], "b": true}, {"b": false, "a": [3, 4]}]})",
           {{"a", DType::kInt32}, {"b", DType::kBool}});
  EXPECT_EQ(read.tensors.at("a").shape(), (Shape{2, 2}));
  EXPECT_EQ(read.tensors.at("a").bytes(), Ints({4}, {1, 2, 3, 4}).bytes());
  EXPECT_EQ(read.tensors.at("b").bytes(), std::string("\1\0", 2));
}

TEST(InputsOf, ReadsColumns) {
  EXPECT_EQ(Read(R"({"inputs": [[1, 2], [3, 4]]})", {{"x", DType::kInt32}}).tensors.at("x").shape(),
            (Shape{2, 2}));
  const JsonInputs read = Read(R"({"inputs": {"a": 7, "b": [0.5], "more": "ignored"}})",
                               {{"a", DType::kInt32}, {"b", DType::kFloat64}});
  EXPECT_EQ(read.form, JsonForm::kColumn);
  EXPECT_EQ(read.tensors.at("a").shape(), Shape{});
  EXPECT_EQ(read.tensors.at("b").shape(), Shape{1});
}

TEST(InputsOf, RefusesInTheOriginalsWords) {
  const std::map<std::string, DType> one{{"x", DType::kFloat32}};
  const std::map<std::string, DType> two{{"a", DType::kFloat32}, {"b", DType::kFloat32}};
  EXPECT_EQ(ErrorOf("", one), "JSON Parse error: The document is empty");
  EXPECT_EQ(ErrorOf("nonsense", one), "JSON Parse error: Invalid value. at offset: 1");
  EXPECT_EQ(
      ErrorOf("{} {}", one),
      "JSON Parse error: The document root must not be followed by other values. at offset: 3");
  EXPECT_EQ(ErrorOf("{}", one), "Missing 'inputs' or 'instances' key");
  EXPECT_THAT(
      ErrorOf(R"({"instances": [1], "inputs": [1]})", one),
      HasSubstr("Not formatted correctly expecting only one of 'inputs' or 'instances' keys "
                "to exist "));
  EXPECT_THAT(ErrorOf(R"({"instances": 3})", one),
              HasSubstr("Excepting 'instances' to be an list/array"));
  EXPECT_THAT(ErrorOf(R"({"instances": []})", one), HasSubstr("No values in 'instances' array"));
  EXPECT_THAT(ErrorOf(R"({"instances": [1]})", two),
              StartsWith("instances is a plain list, but expecting list of objects"));
  EXPECT_EQ(ErrorOf(R"({"instances": [[1, 2], [1]]})", one),
            "Failed to process element: 1 of 'instances' list. Error: Invalid argument: Expecting "
            "shape [2] but got: [1]");
  EXPECT_EQ(
      ErrorOf(R"({"instances": [[1, [2]]]})", one),
      "Failed to process element: 0 of 'instances' list. Error: Invalid argument: Encountered "
      "list at unexpected level: 1 expected < 1");
  EXPECT_EQ(
      ErrorOf(R"({"instances": ["one"]})", one),
      "Failed to process element: 0 of 'instances' list. Error: Invalid argument: JSON Value: "
      "\"one\" Type: String is not of expected type: float");
  EXPECT_EQ(ErrorOf(R"({"instances": [{"x": 1}, 2]})", one),
            "Expecting object but got list at item 1 of input list");
  EXPECT_THAT(ErrorOf(R"({"instances": [{"a": 1}]})", two),
              HasSubstr("keys must be equal to: a,b"));
  EXPECT_EQ(ErrorOf(R"({"inputs": {"a": 1}})", two), "Missing named input: b in 'inputs' object.");
  EXPECT_THAT(ErrorOf(R"({"inputs": [1.0]})", {{"x", DType::kInt32}}),
              HasSubstr("Type: Number is not of expected type: int32"));
  EXPECT_THAT(ErrorOf(R"({"inputs": [300]})", {{"x", DType::kUInt8}}), HasSubstr("uint8"));
}

TEST(InputsOf, RefusesWhatIsTooDeep) {
  std::string deep = R"({"inputs": )";
  deep.append(1'000'000, '[');
  EXPECT_THAT(ErrorOf(deep, {{"x", DType::kFloat32}}), HasSubstr("more than 64 arrays"));
  EXPECT_THAT(ErrorOf(std::string(1'000'000, '{'), {{"x", DType::kFloat32}}),
              HasSubstr("more than 64 arrays"));
}

TEST(InputsOf, RefusesMoreValuesThanMemoryHas) {
  std::string many = R"({"instances": [0)";
  for (uint64_t i = 0; i < kMaxJsonValues; ++i) many += ",0";
  EXPECT_THAT(ErrorOf(many + "]}", {{"x", DType::kFloat32}}),
              HasSubstr("more than 8388608 values"));
  EXPECT_THAT(ErrorOf("{\"inputs\": \"\xff\"}", {{"x", DType::kFloat32}}),
              HasSubstr("Invalid encoding in string."));
}

TEST(InputsOf, TextsOfLongValuesAreCut) {
  std::string body = R"({"instances": 3, "more": [)";
  for (int i = 0; i < 100'000; ++i) body += "1,";
  body += "1]}";
  EXPECT_LT(ErrorOf(body, {{"x", DType::kFloat32}}).size(), 2000U);
}

TEST(ExamplesOf, ReadsFeaturesAndContext) {
  const auto body = Must(ParseJson(
      R"({"context": {"c": 1.5}, "examples": [{"a": [1, 2], "b": {"b64": "aGk="}}, {"a": true}]})"));
  const auto input = Must(ExamplesOf(body, "classify"));
  const auto& list = input.example_list_with_context();
  ASSERT_EQ(list.examples_size(), 2);
  EXPECT_EQ(list.context().features().feature().at("c").float_list().value(0), 1.5F);
  EXPECT_EQ(list.examples(0).features().feature().at("a").int64_list().value_size(), 2);
  EXPECT_EQ(list.examples(0).features().feature().at("b").bytes_list().value(0), "hi");
  EXPECT_EQ(list.examples(1).features().feature().at("a").int64_list().value(0), 1);
  const auto mixed = Must(ParseJson(R"({"examples": [{"a": [1, "two"]}]})"));
  EXPECT_EQ(ExamplesOf(mixed, "classify").error().text,
            "Unexpected element type in feature: a expecting type: int64");
}

TEST(ClassifyBody, IsTheOriginals) {
  tensorflow::serving::ClassificationResult result;
  auto* row = result.add_classifications();
  auto* one = row->add_classes();
  one->set_label("cat");
  one->set_score(0.5);
  one = row->add_classes();
  one->set_label("dog");
  one->set_score(0.25);
  result.add_classifications()->add_classes()->set_score(1);
  EXPECT_EQ(ClassifyBody(result),
            "{\n    \"results\": [[[\"cat\", 0.5], [\"dog\", 0.25]], [[\"\", 1.0]]\n    ]\n}");
  tensorflow::serving::RegressionResult values;
  values.add_regressions()->set_value(3.5);
  values.add_regressions()->set_value(4);
  EXPECT_EQ(RegressBody(values), "{\n    \"results\": [3.5, 4.0]\n}");
  EXPECT_EQ(ErrorBody("Servable not found for request: Latest(half)"),
            "{\n    \"error\": \"Servable not found for request: Latest(half)\"\n}");
}

TEST(Base64, IsDecodedWithOrWithoutPadding) {
  EXPECT_EQ(Must(DecodeBase64("aGk=")), "hi");
  EXPECT_EQ(Must(DecodeBase64("aGk")), "hi");
  EXPECT_EQ(Must(DecodeBase64(" eW\n8= ")), "yo");
  EXPECT_FALSE(DecodeBase64("a*b="));
  EXPECT_FALSE(DecodeBase64("aGk=a"));
  EXPECT_FALSE(DecodeBase64("a"));
}

}  // namespace
}  // namespace nrtd::serving
