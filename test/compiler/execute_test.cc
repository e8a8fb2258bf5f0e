// SPDX-License-Identifier: Apache-2.0
//
// Compiles, loads and runs: the numbers must be those of ONNX Runtime, which made the references.
#include <algorithm>
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "compiler/compile.h"
#include "neff/validator.h"
#include "test/compiler/cases.h"
#include "test/compiler/neff_runner.h"

namespace nrtd::compiler {
namespace {

// Of float32 sums in another order.
constexpr double kExact = 1e-5;
// Of operands with 8 significant bits: 2^-9 each, which add up over the layers of a case.
constexpr double kRounded = 2e-2;

neff::Neff Compile(const std::string& model, const CompileOptions& options) {
  const TemporaryFolder folder;
  const std::string path = folder.File("model.neff");
  Must(CompileOnnx(model, path, options));
  return Must(neff::ReadExecutable(Must(ReadFile(path)), neff::kSimTarget));
}

template <typename T>
std::vector<double> NumbersOf(const ByteVector& data) {
  std::vector<double> numbers;
  for (size_t at = 0; at < data.size(); at += sizeof(T))
    numbers.push_back(static_cast<double>(LoadAt<T>(data, at)));
  return numbers;
}

std::vector<double> Numbers(const NpyArray& array) {
  switch (array.dtype) {
    case DType::kFloat32:
      return NumbersOf<float>(array.data);
    case DType::kFloat64:
      return NumbersOf<double>(array.data);
    case DType::kInt32:
      return NumbersOf<int32_t>(array.data);
    case DType::kInt64:
      return NumbersOf<int64_t>(array.data);
    default:
      return NumbersOf<uint8_t>(array.data);
  }
}

// The largest difference, relative to the largest magnitude.
double Distance(const NpyArray& actual, const NpyArray& expected) {
  const std::vector<double> a = Numbers(actual);
  const std::vector<double> b = Numbers(expected);
  if (a.size() != b.size() || actual.dtype != expected.dtype) return INFINITY;
  double difference = 0;
  double magnitude = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) || std::isnan(b[i])) return INFINITY;
    difference = std::max(difference, std::fabs(a[i] - b[i]));
    magnitude = std::max(magnitude, std::fabs(b[i]));
  }
  return magnitude == 0 ? difference : difference / magnitude;
}

// Those in which PE multiplies: the others are the same with and without casts.
std::vector<std::string> CasesWithProducts() {
  constexpr std::string_view kFamilies[] = {
      "attention", "batchnorm_conv", "chain",      "conv",        "depthwise",
      "gemm",      "long_chain",     "matmul",     "output_used", "reshape",
      "residual",  "split_opset11",  "transposed", "two_outputs"};
  std::vector<std::string> names = CaseNames();
  std::erase_if(names, [&](const std::string& name) {
    return std::ranges::none_of(kFamilies,
                                [&](std::string_view family) { return name.starts_with(family); });
  });
  return names;
}

class Execute : public ::testing::TestWithParam<std::string> {
 protected:
  void ExpectReference(const CompileOptions& options, double tolerance) {
    const Case expected = LoadCase(GetParam());
    const neff::Neff neff = Compile(expected.model, options);
    SimulatedCore core;
    NeffRunner runner(core, neff);
    // Twice: an execution must leave nothing behind that the next one stumbles over.
    for (int round = 0; round < 2; ++round) {
      const auto outputs = runner.Run(expected.inputs);
      ASSERT_EQ(outputs.size(), expected.outputs.size());
      for (const auto& [name, array] : expected.outputs) {
        EXPECT_EQ(outputs.at(name).shape, array.shape);
        EXPECT_LE(Distance(outputs.at(name), array), tolerance) << name;
      }
    }
  }
};

TEST_P(Execute, InFloat32AsOnnxRuntime) {
  ExpectReference({Fp32Cast::kNone}, kExact);
}

class ExecuteCast : public Execute {};

TEST_P(ExecuteCast, InBFloat16CloseToOnnxRuntime) {
  ExpectReference({Fp32Cast::kAll}, kRounded);
}

class ExecuteCorrected : public Execute {};

TEST_P(ExecuteCorrected, InBFloat16WithBiasesCorrectedFromItsInputs) {
  const Sample own{GetParam(), LoadCase(GetParam()).inputs};
  ExpectReference({.samples = {own, own}}, kRounded);
}

INSTANTIATE_TEST_SUITE_P(Cases, ExecuteCorrected,
                         ::testing::Values("attention_masked", "attention_plain", "conv_1d",
                                           "conv_bias_batchnorm_relu", "conv_groups2",
                                           "conv_sigmoid_gate", "chain_conv_relu_maxpool",
                                           "depthwise_batchnorm_clip", "gemm_no_c", "gemm_trans_b",
                                           "gemm_trans_a", "long_chain", "lstm_both_ways",
                                           "residual", "host_topk_between_products"),
                         [](const auto& test) { return test.param; });

class ExecutePipeline : public Execute {};

TEST_P(ExecutePipeline, InPiecesAsOnnxRuntime) {
  for (const uint32_t cores : {2U, 3U}) ExpectReference({Fp32Cast::kNone, cores}, kExact);
}

INSTANTIATE_TEST_SUITE_P(Cases, ExecutePipeline,
                         ::testing::Values("attention_masked", "chain_conv_relu_maxpool",
                                           "long_chain", "lstm_forward", "gru_both_ways",
                                           "residual", "attention_plain", "lstm_both_ways",
                                           "host_two_levels", "host_topk_and_its_input"),
                         [](const auto& test) { return test.param; });

INSTANTIATE_TEST_SUITE_P(Cases, Execute, ::testing::ValuesIn(CaseNames()),
                         [](const auto& test) { return test.param; });
INSTANTIATE_TEST_SUITE_P(Cases, ExecuteCast, ::testing::ValuesIn(CasesWithProducts()),
                         [](const auto& test) { return test.param; });

class Digits : public ::testing::TestWithParam<Fp32Cast> {};

// All 360 held-out images, one after the other.
TEST_P(Digits, AreReadAsOnnxRuntimeReadsThem) {
  const std::string folder = std::string(NRTD_SOURCE_DIR) + "/models/digits/";
  const NpyArray images = Must(ReadNpyFile(folder + "images.npy"));
  const NpyArray labels = Must(ReadNpyFile(folder + "labels.npy"));
  const NpyArray reference = Must(ReadNpyFile(folder + "reference_output.npy"));
  const neff::Neff neff = Compile(folder + "digits.onnx", {GetParam()});
  SimulatedCore core;
  NeffRunner runner(core, neff);
  constexpr size_t kImageBytes = 64 * sizeof(float);
  constexpr size_t kOutputBytes = 10 * sizeof(float);
  const auto count = static_cast<size_t>(images.shape[0]);
  ASSERT_EQ(count, 360U);
  size_t same = 0;
  size_t right = 0;
  for (size_t i = 0; i < count; ++i) {
    const auto part = [&](const NpyArray& array, size_t bytes) {
      return ByteVector(array.data.begin() + static_cast<std::ptrdiff_t>(i * bytes),
                        array.data.begin() + static_cast<std::ptrdiff_t>((i + 1) * bytes));
    };
    const NpyArray image{DType::kFloat32, {1, 1, 8, 8}, part(images, kImageBytes)};
    const NpyArray expected{DType::kFloat32, {1, 10}, part(reference, kOutputBytes)};
    const NpyArray output = runner.Run({{"input:0", image}}).at("output:0");
    if (GetParam() == Fp32Cast::kNone) {
      EXPECT_LE(Distance(output, expected), kExact) << i;
    }
    const auto best = [](const NpyArray& array) {
      const std::vector<double> values = Numbers(array);
      return std::max_element(values.begin(), values.end()) - values.begin();
    };
    same += best(output) == best(expected) ? 1 : 0;
    right += best(output) == LoadAt<int64_t>(labels.data, i * sizeof(int64_t)) ? 1 : 0;
  }
  EXPECT_EQ(same, count);
  EXPECT_GE(static_cast<double>(right), 0.97 * static_cast<double>(count));
}

INSTANTIATE_TEST_SUITE_P(Casts, Digits, ::testing::Values(Fp32Cast::kNone, Fp32Cast::kAll),
                         [](const auto& test) {
                           return test.param == Fp32Cast::kNone ? "None" : "All";
                         });

}  // namespace
}  // namespace nrtd::compiler
