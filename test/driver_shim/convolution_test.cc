// SPDX-License-Identifier: Apache-2.0
//
// Convolutions against a few lines of scalar code that say what they mean.
#include "driver_shim/sim/kernels/make_kernel.h"
#include "driver_shim/sim/kernels/small.h"
#include "test/driver_shim/kernel_fixture.h"

namespace nrtd::sim {
namespace {

class ConvolutionTest : public KernelTest {};

Conv2d SmallConv() {
  Conv2d conv;
  conv.input = DenseOperand(kVar, DType::kFloat32, 0, {2, 4, 9, 7});
  conv.weights = DenseOperand(kConst, DType::kFloat32, 0, {6, 4, 3, 3});
  conv.bias = DenseOperand(kConst, DType::kFloat32, 4000, {6});
  conv.output = DenseOperand(kVar, DType::kFloat32, 40000, {2, 6, 9, 7});
  conv.pads = {1, 1, 1, 1};
  return conv;
}

TEST_P(ConvolutionTest, ConvolvesInFloat32) {
  CheckConv(SmallConv());
}

TEST_P(ConvolutionTest, ConvolvesWithOperandsRoundedToBFloat16) {
  Conv2d conv = SmallConv();
  conv.precision = Precision::kBFloat16;
  CheckConv(conv);
}

TEST_P(ConvolutionTest, ConvolvesWithWeightsThatChange) {
  for (Precision precision : {Precision::kFloat32, Precision::kBFloat16}) {
    Conv2d conv = SmallConv();
    conv.weights.var_id = kVar;
    conv.weights.offset = 80000;
    conv.precision = precision;
    CheckConv(conv);
  }
}

// Groups once were read as float32 where they had been converted to bfloat16.
TEST_P(ConvolutionTest, ConvolvesInGroupsWithWeightsThatChange) {
  for (Precision precision : {Precision::kFloat32, Precision::kBFloat16}) {
    Conv2d conv = SmallConv();
    conv.weights = DenseOperand(kVar, DType::kFloat32, 80000, {6, 2, 3, 3});
    conv.groups = 2;
    conv.precision = precision;
    CheckConv(conv);
    // Depthwise, for which the library has other forms.
    conv.weights = DenseOperand(kVar, DType::kFloat32, 80000, {4, 1, 3, 3});
    conv.bias.reset();
    conv.output = DenseOperand(kVar, DType::kFloat32, 40000, {2, 4, 9, 7});
    conv.groups = 4;
    CheckConv(conv);
  }
}

TEST_P(ConvolutionTest, ConvolvesWithStridesDilationsGroupsAndUnevenPads) {
  Conv2d conv = SmallConv();
  conv.weights.dims = {6, 2, 3, 2};
  conv.weights = DenseOperand(kConst, DType::kFloat32, 0, conv.weights.dims);
  conv.groups = 2;
  conv.strides = {2, 1};
  conv.dilations = {1, 2};
  conv.pads = {1, 0, 0, 2};
  conv.bias.reset();
  conv.output = DenseOperand(kVar, DType::kFloat32, 40000, {2, 6, 4, 7});
  CheckConv(conv);
}

TEST_P(ConvolutionTest, ConvolvesChannelsLast) {
  Conv2d conv = SmallConv();
  conv.input.strides = {4 * 9 * 7, 1, 7 * 4, 4};
  conv.output.strides = {6 * 9 * 7, 1, 7 * 6, 6};
  CheckConv(conv);
}

// A convolution with its channels last, a border of gaps behind every row of the output.
struct ImageForm {
  std::string name;
  std::vector<int64_t> input{1, 8, 16, 16};
  std::vector<int64_t> weights{16, 8, 3, 3};
  std::array<int64_t, 2> strides{1, 1};
  std::array<int64_t, 2> dilations{1, 1};
  std::array<int64_t, 4> pads{1, 1, 1, 1};
  Precision precision = Precision::kFloat32;
  std::optional<Fused> fused = {};
  bool bias = true;
};

Operand ChannelsLast(uint64_t at, const std::vector<int64_t>& dims, int64_t gap) {
  const int64_t row = dims[3] * dims[1] + gap;
  return {kVar, DType::kFloat32, at, dims, {dims[2] * row, 1, row, dims[1]}};
}

Conv2d ConvOf(const ImageForm& form) {
  constexpr uint64_t kOutputAt = 128 * 1024;
  constexpr uint64_t kBiasAt = 60 * 1024;
  Conv2d conv;
  conv.input = ChannelsLast(0, form.input, 0);
  conv.weights = DenseOperand(kConst, DType::kFloat32, 0, form.weights);
  if (form.bias) conv.bias = DenseOperand(kConst, DType::kFloat32, kBiasAt, {form.weights[0]});
  std::vector<int64_t> out{form.input[0], form.weights[0], 0, 0};
  for (size_t d = 0; d < 2; ++d) {
    const int64_t window = (form.weights[d + 2] - 1) * form.dilations[d] + 1;
    out[d + 2] =
        (form.input[d + 2] + form.pads[d] + form.pads[d + 2] - window) / form.strides[d] + 1;
  }
  conv.output = ChannelsLast(kOutputAt, out, 5);
  conv.strides = form.strides;
  conv.dilations = form.dilations;
  conv.pads = form.pads;
  conv.precision = form.precision;
  conv.fused = form.fused;
  return conv;
}

// Those of 3 x 3 with steps of 1, channels in eights and 28 tiles an image are Winograd's; others
// have runs with and without gaps, blocks of more than one depth, columns that fill no panel, rows
// that fill no tile.
TEST_P(ConvolutionTest, ConvolvesLargerImagesInEveryForm) {
  if (TakesTooLong()) GTEST_SKIP() << "in pieces it takes too long under a sanitizer";
  const Fused relu{Function::kRelu};
  const Fused clip{Function::kClip, -1, 2};
  const ImageForm forms[] = {
      {.name = "three"},
      {.name = "odd sides", .input = {1, 8, 15, 13}},
      {.name = "more columns", .weights = {40, 8, 3, 3}},
      {.name = "more channels", .input = {1, 24, 13, 14}, .weights = {24, 24, 3, 3}},
      {.name = "no padding", .input = {1, 8, 16, 15}, .pads = {0, 0, 0, 0}},
      {.name = "uneven padding", .pads = {2, 0, 1, 2}},
      {.name = "two images", .input = {2, 8, 12, 11}},
      {.name = "two small images", .input = {2, 8, 9, 10}},
      {.name = "many tiles", .input = {1, 8, 24, 24}},
      {.name = "relu", .fused = relu},
      {.name = "clip", .fused = clip},
      {.name = "rounded", .precision = Precision::kBFloat16},
      {.name = "without bias", .bias = false},
      {.name = "steps", .input = {1, 8, 23, 21}, .strides = {2, 2}},
      {.name = "uneven steps", .input = {1, 8, 23, 21}, .strides = {1, 2}, .fused = clip},
      {.name = "gaps", .dilations = {2, 3}, .pads = {2, 3, 2, 3}},
      {.name = "gaps down", .dilations = {2, 1}, .fused = relu},
      {.name = "odd channels", .input = {1, 7, 16, 16}, .weights = {13, 7, 3, 3}},
      {.name = "five", .weights = {16, 8, 5, 5}, .pads = {2, 2, 2, 2}},
      {.name = "wide", .weights = {17, 8, 1, 7}, .pads = {0, 3, 0, 3}},
      {.name = "deep", .input = {1, 40, 10, 10}, .weights = {20, 40, 3, 3}, .strides = {2, 2}},
      {.name = "one place, steps",
       .input = {1, 48, 17, 17},
       .weights = {48, 48, 1, 1},
       .strides = {2, 2},
       .pads = {0, 0, 0, 0}},
      {.name = "rounded steps",
       .input = {1, 8, 24, 24},
       .strides = {2, 2},
       .precision = Precision::kBFloat16},
  };
  for (const ImageForm& form : forms) {
    SCOPED_TRACE(form.name);
    EXPECT_GT(MacCount(ConvOf(form)), kSmallConvMacs);
    CheckConv(ConvOf(form));
    if (HasFatalFailure()) return;
  }
}

TEST_P(ConvolutionTest, ANaNOfAnImageStaysOneBehindAClamp) {
  const Conv2d conv = ConvOf({.name = "", .fused = Fused{Function::kRelu}});
  Value(conv.input, {0, 3, 5, 5}) = std::numeric_limits<float>::quiet_NaN();
  Run(conv);
  // oneDNN's ReLU makes it 0.
  if (GetParam() != Kernels::kLibrary) {
    EXPECT_TRUE(std::isnan(Value(conv.output, {0, 2, 5, 5})));
  }
  EXPECT_FALSE(std::isnan(Value(conv.output, {0, 2, 9, 9})));
}

TEST_P(ConvolutionTest, AnInputThatIsRepeatedBeyondAllBoundsIsNotStaged) {
  Conv2d conv;
  const int64_t huge = (int64_t{1} << 32) - 1;
  conv.input = {.var_id = kVar, .dims = {1, 1, huge, huge}, .strides = {0, 0, 0, 0}};
  conv.weights = Const({1, 1, 1, 1});
  conv.output = Temp({1, 1, 3, 3}, 4000);
  conv.strides = {(int64_t{1} << 31) - 1, (int64_t{1} << 31) - 1};
  conv.pads = {0, 0, 1, 1};
  const ProgramContext context{
      {{kVar, memory_.size() * 4, true, true}, {kConst, constants_.size() * 4, true, false}}, {}};
  EXPECT_FALSE(Validate({Engine::kPe, {conv, End{}}}, context));
  Scratch scratch;
  EXPECT_EQ(MakeSmallConv2d(conv, Context(&scratch)), nullptr);
  EXPECT_EQ(scratch.data(), nullptr);
  EXPECT_EQ(MacCount(conv), 9U);
  conv.weights = {.var_id = kConst, .dims = {1, 1, huge, huge}, .strides = {0, 0, 0, 0}};
  EXPECT_EQ(MacCount(conv), UINT64_MAX);
}

INSTANTIATE_TEST_SUITE_P(Kernels, ConvolutionTest, kAllKernels, NameOf);

}  // namespace
}  // namespace nrtd::sim
