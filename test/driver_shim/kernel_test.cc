// SPDX-License-Identifier: Apache-2.0
//
// Every tensor instruction against a few lines of scalar code that say what it means.
#include "driver_shim/sim/kernels/kernel.h"

#include <cmath>
#include <functional>
#include <random>
#include <utility>

#include <gtest/gtest.h>

#include "driver_shim/sim/kernels/small.h"

namespace nrtd::sim {
namespace {

constexpr uint32_t kVar = 1;
constexpr uint32_t kConst = 2;

// Walks all index tuples of `dims`.
void ForEach(const std::vector<int64_t>& dims,
             const std::function<void(const std::vector<int64_t>&)>& visit) {
  std::vector<int64_t> index(dims.size(), 0);
  while (true) {
    visit(index);
    size_t d = dims.size();
    while (d > 0 && ++index[d - 1] == dims[d - 1]) index[--d] = 0;
    if (d == 0) return;
  }
}

// Both with the kernels of our own for small tensors and with the library's alone.
class KernelTest : public ::testing::TestWithParam<bool> {
 protected:
  KernelTest() : memory_(1 << 16), constants_(1 << 14) {
    UseOneThread();
    std::mt19937 random(42);
    std::normal_distribution<float> normal;
    for (float& value : memory_) value = normal(random);
    for (float& value : constants_) value = normal(random);
  }

  static size_t At(const Operand& operand, const std::vector<int64_t>& index) {
    size_t at = operand.offset / sizeof(float);
    for (size_t d = 0; d < index.size(); ++d)
      at += static_cast<size_t>(index[d] * operand.strides[d]);
    return at;
  }
  float& Value(const Operand& operand, const std::vector<int64_t>& index) {
    return (operand.var_id == kConst ? constants_ : memory_)[At(operand, index)];
  }
  // As above, with dimensions of 1 repeated.
  float Repeated(const Operand& operand, std::vector<int64_t> index) {
    for (size_t d = 0; d < index.size(); ++d) {
      if (operand.dims[d] == 1) index[d] = 0;
    }
    return Value(operand, index);
  }

  KernelContext Context(Scratch* scratch) {
    return {.resolve =
                [this](const Operand& operand) {
                  auto& values = operand.var_id == kConst ? constants_ : memory_;
                  return reinterpret_cast<std::byte*>(values.data()) + operand.offset;
                },
            .constant = [](uint32_t var_id) { return var_id == kConst; },
            .weights = &weights_,
            .scratch = scratch,
            .small_kernels = GetParam()};
  }

  void Run(const Instruction& instruction) {
    const ProgramContext context{
        {{kVar, memory_.size() * 4, true, true}, {kConst, constants_.size() * 4, true, false}}, {}};
    for (Engine engine : {Engine::kPe, Engine::kAct, Engine::kPool}) {
      if (!RunsOn(OpcodeOf(instruction), engine)) continue;
      const auto valid = Validate({engine, {instruction, End{}}}, context);
      ASSERT_TRUE(valid) << valid.error().text;
    }
    Scratch scratch;
    auto kernel = MakeKernel(instruction, Context(&scratch));
    ASSERT_TRUE(kernel) << kernel.error().text;
    ASSERT_TRUE((*kernel)->Run());
    ASSERT_TRUE(
        (*kernel)->Run());  // nothing that a first run leaves behind may change a second one
  }

  void Expect(const Operand& output, const std::function<double(const std::vector<int64_t>&)>& want,
              double tolerance) {
    std::vector<double> expected;
    ForEach(output.dims, [&](const auto& index) { expected.push_back(want(index)); });
    size_t i = 0;
    ForEach(output.dims, [&](const auto& index) {
      ASSERT_NEAR(Value(output, index), expected[i], tolerance * (1 + std::abs(expected[i])))
          << ShapeText(index);
      ++i;
    });
  }

  void CheckConv(const Conv2d& conv) {
    const std::vector<float> before = memory_;
    Run(conv);
    if (HasFatalFailure()) return;
    const double tolerance = 1e-5;
    const auto round = [&](float v) {
      return conv.precision == Precision::kBFloat16 ? BFloat16ToFloat(FloatToBFloat16(v)) : v;
    };
    Expect(
        conv.output,
        [&](const auto& o) {
          const int64_t out_per_group = conv.weights.dims[0] / conv.groups;
          const int64_t in_per_group = conv.weights.dims[1];
          double sum = conv.bias ? Value(*conv.bias, {o[1]}) : 0;
          for (int64_t c = 0; c < in_per_group; ++c) {
            for (int64_t ky = 0; ky < conv.weights.dims[2]; ++ky) {
              for (int64_t kx = 0; kx < conv.weights.dims[3]; ++kx) {
                const int64_t y = o[2] * conv.strides[0] + ky * conv.dilations[0] - conv.pads[0];
                const int64_t x = o[3] * conv.strides[1] + kx * conv.dilations[1] - conv.pads[1];
                if (y < 0 || x < 0 || y >= conv.input.dims[2] || x >= conv.input.dims[3]) continue;
                const int64_t channel = o[1] / out_per_group * in_per_group + c;
                const float in = before[At(conv.input, {o[0], channel, y, x})];
                sum += double{round(in)} * round(Value(conv.weights, {o[1], c, ky, kx}));
              }
            }
          }
          return sum;
        },
        tolerance);
  }

  static Operand Temp(std::vector<int64_t> dims, uint64_t element = 0) {
    return DenseOperand(kVar, DType::kFloat32, element * 4, std::move(dims));
  }
  static Operand Const(std::vector<int64_t> dims, uint64_t element = 0) {
    return DenseOperand(kConst, DType::kFloat32, element * 4, std::move(dims));
  }

  WeightCache weights_;
  std::vector<float> memory_;
  std::vector<float> constants_;
};

Conv2d SmallConv() {
  Conv2d conv;
  conv.input = DenseOperand(kVar, DType::kFloat32, 0, {2, 4, 9, 7});
  conv.weights = DenseOperand(kConst, DType::kFloat32, 0, {6, 4, 3, 3});
  conv.bias = DenseOperand(kConst, DType::kFloat32, 4000, {6});
  conv.output = DenseOperand(kVar, DType::kFloat32, 40000, {2, 6, 9, 7});
  conv.pads = {1, 1, 1, 1};
  return conv;
}

TEST_P(KernelTest, ConvolvesInFloat32) {
  CheckConv(SmallConv());
}

TEST_P(KernelTest, ConvolvesWithOperandsRoundedToBFloat16) {
  Conv2d conv = SmallConv();
  conv.precision = Precision::kBFloat16;
  CheckConv(conv);
}

TEST_P(KernelTest, ConvolvesWithWeightsThatChange) {
  for (Precision precision : {Precision::kFloat32, Precision::kBFloat16}) {
    Conv2d conv = SmallConv();
    conv.weights.var_id = kVar;
    conv.weights.offset = 80000;
    conv.precision = precision;
    CheckConv(conv);
  }
}

TEST_P(KernelTest, ConvolvesWithStridesDilationsGroupsAndUnevenPads) {
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

TEST_P(KernelTest, ConvolvesChannelsLast) {
  Conv2d conv = SmallConv();
  conv.input.strides = {4 * 9 * 7, 1, 7 * 4, 4};
  conv.output.strides = {6 * 9 * 7, 1, 7 * 6, 6};
  CheckConv(conv);
}

TEST_P(KernelTest, MultipliesMatricesInEveryForm) {
  struct Case {
    const char* name;
    Operand a, b;
    std::optional<Operand> bias;
    Operand c;
  };
  const Operand c = Temp({2, 5, 6}, 3000);
  Operand transposed = Temp({2, 5, 3}, 0);
  transposed.strides = {15, 1, 5};
  const Case cases[] = {
      {"batched", Temp({2, 5, 3}), Temp({2, 3, 6}, 1000), std::nullopt, c},
      {"constant b with bias", Temp({2, 5, 3}), Const({1, 3, 6}), Const({1, 1, 6}, 100), c},
      {"transposed a", transposed, Temp({2, 3, 6}, 1000), std::nullopt, c},
      {"repeated a", Temp({1, 5, 3}), Temp({2, 3, 6}, 1000), Const({1, 5, 6}, 100), c},
      {"flat", Temp({5, 3}), Const({3, 6}), Const({1, 6}, 100), Temp({5, 6}, 3000)},
      {"flat bias column", Temp({5, 3}), Const({3, 6}), Const({5, 1}, 100), Temp({5, 6}, 3000)},
  };
  for (Precision precision : {Precision::kFloat32, Precision::kBFloat16}) {
    for (const Case& test : cases) {
      SCOPED_TRACE(test.name);
      Run(MatMul{test.a, test.b, test.bias, test.c, precision});
      if (HasFatalFailure()) return;
      const auto round = [&](float v) {
        return precision == Precision::kBFloat16 ? BFloat16ToFloat(FloatToBFloat16(v)) : v;
      };
      Expect(
          test.c,
          [&](const std::vector<int64_t>& index) {
            double sum = test.bias ? Repeated(*test.bias, index) : 0;
            const size_t rank = index.size();
            for (int64_t k = 0; k < 3; ++k) {
              auto a = index;
              auto b = index;
              a[rank - 1] = k;
              b[rank - 2] = k;
              sum += double{round(Repeated(test.a, a))} * round(Repeated(test.b, b));
            }
            return sum;
          },
          1e-5);
    }
  }
}

TEST_P(KernelTest, WeightsStoredInBFloat16GiveWhatRoundedOnesGive) {
  // 18 weights, stored as bfloat16 in the second half of the constants.
  auto* stored = reinterpret_cast<uint16_t*>(constants_.data() + 8000);
  for (int i = 0; i < 18; ++i) stored[i] = FloatToBFloat16(constants_[i]);
  MatMul matmul{Temp({5, 3}), Const({3, 6}), std::nullopt, Temp({5, 6}, 3000),
                Precision::kBFloat16};
  Run(matmul);
  const std::vector<float> first(memory_.begin() + 3000, memory_.begin() + 3030);
  matmul.b = DenseOperand(kConst, DType::kBFloat16, 32000, {3, 6});
  Run(matmul);
  EXPECT_EQ(std::vector<float>(memory_.begin() + 3000, memory_.begin() + 3030), first);
}

TEST_P(KernelTest, ReplicasShareOneCopyOfPackedWeights) {
  const MatMul matmul{Temp({5, 3}), Const({3, 6}), std::nullopt, Temp({5, 6}, 3000),
                      Precision::kFloat32};
  Scratch scratch;
  const KernelContext context = Context(&scratch);
  auto one = MakeKernel(matmul, context);
  const uint64_t bytes = weights_.bytes();
  EXPECT_GE(bytes, 3U * 6 * 4);
  auto two = MakeKernel(matmul, context);
  EXPECT_EQ(weights_.bytes(), bytes);
  one->reset();
  EXPECT_EQ(weights_.bytes(), bytes);
  two->reset();
  EXPECT_EQ(weights_.bytes(), 0U);
}

TEST_P(KernelTest, AppliesEveryFunction) {
  struct Case {
    Function function;
    float alpha, beta;
    std::function<double(double)> want;
  };
  const Case cases[] = {
      {Function::kRelu, 0, 0, [](double x) { return std::max(x, 0.0); }},
      {Function::kLeakyRelu, 0.1F, 0, [](double x) { return x > 0 ? x : 0.1 * x; }},
      {Function::kClip, -0.5F, 0.75F, [](double x) { return std::min(std::max(x, -0.5), 0.75); }},
      {Function::kSigmoid, 0, 0, [](double x) { return 1 / (1 + std::exp(-x)); }},
      {Function::kTanh, 0, 0, [](double x) { return std::tanh(x); }},
      {Function::kExp, 0, 0, [](double x) { return std::exp(x); }},
      {Function::kLog, 0, 0, [](double x) { return std::log(x); }},
      {Function::kSqrt, 0, 0, [](double x) { return std::sqrt(x); }},
      {Function::kAbs, 0, 0, [](double x) { return std::abs(x); }},
      {Function::kGeluErf, 0, 0,
       [](double x) { return x / 2 * (1 + std::erf(x / std::sqrt(2.0))); }},
      {Function::kLinear, 2, 3, [](double x) { return 2 * x + 3; }},
  };
  static_assert(std::size(cases) == kFunctions);
  for (const Case& test : cases) {
    SCOPED_TRACE(static_cast<int>(test.function));
    const bool positive = test.function == Function::kLog || test.function == Function::kSqrt;
    if (positive) {
      for (int i = 0; i < 100; ++i) memory_[i] = std::abs(memory_[i]) + 0.01F;
    }
    const Operand in = Temp({4, 25});
    const Operand out = Temp({4, 25}, 1000);
    Run(Activation{in, out, test.function, test.alpha, test.beta});
    if (HasFatalFailure()) return;
    Expect(
        out, [&](const auto& index) { return test.want(Value(in, index)); }, 1e-5);
  }
}

TEST_P(KernelTest, AppliesFunctionsBetweenLayoutsAndInPlace) {
  const Operand in = Temp({4, 25});
  Operand out = Temp({4, 25}, 1000);
  out.strides = {1, 4};
  Run(Activation{in, out, Function::kRelu, 0, 0});
  Expect(
      out, [&](const auto& index) { return std::max(Value(in, index), 0.0F); }, 0);
  const std::vector<float> before = memory_;
  Run(Activation{in, in, Function::kAbs, 0, 0});
  Expect(
      in, [&](const auto& index) { return std::abs(before[At(in, index)]); }, 0);
}

TEST_P(KernelTest, SoftmaxSumsToOneOverItsAxis) {
  for (int64_t axis : {0, 1, 2}) {
    const Operand in = Temp({3, 4, 5});
    const Operand out = Temp({3, 4, 5}, 1000);
    Run(Softmax{in, out, axis});
    if (HasFatalFailure()) return;
    Expect(
        out,
        [&](const std::vector<int64_t>& index) {
          double sum = 0;
          for (int64_t i = 0; i < in.dims[static_cast<size_t>(axis)]; ++i) {
            auto other = index;
            other[static_cast<size_t>(axis)] = i;
            sum += std::exp(Value(in, other));
          }
          return std::exp(Value(in, index)) / sum;
        },
        1e-5);
  }
}

TEST_P(KernelTest, PoolsInEveryKind) {
  for (PoolKind kind :
       {PoolKind::kMax, PoolKind::kAverageExcludePad, PoolKind::kAverageIncludePad}) {
    Pool2d pool{Temp({2, 3, 7, 6}), Temp({2, 3, 4, 3}, 4000), kind, {3, 2}, {2, 2}, {1, 0, 1, 0}};
    Run(pool);
    if (HasFatalFailure()) return;
    Expect(
        pool.output,
        [&](const auto& o) {
          double sum = 0;
          double most = -1e30;
          int inside = 0;
          for (int64_t ky = 0; ky < 3; ++ky) {
            for (int64_t kx = 0; kx < 2; ++kx) {
              const int64_t y = o[2] * 2 + ky - 1;
              const int64_t x = o[3] * 2 + kx;
              if (y < 0 || y >= 7 || x >= 6) continue;
              const float value = Value(pool.input, {o[0], o[1], y, x});
              sum += value;
              most = std::max(most, double{value});
              ++inside;
            }
          }
          return kind == PoolKind::kMax ? most
                                        : sum / (kind == PoolKind::kAverageExcludePad ? inside : 6);
        },
        1e-5);
  }
}

// So that an inference whose input holds NaN ends as one with a numerical error.
TEST_P(KernelTest, PoolingPassesNaNOnFromEveryPlaceOfTheWindow) {
  if (!GetParam()) GTEST_SKIP() << "oneDNN does not promise it";
  for (const std::array<int64_t, 2> window : {std::array<int64_t, 2>{2, 2}, {3, 2}}) {
    const Pool2d pool{.input = Temp({1, 1, window[0], window[1]}),
                      .output = Temp({1, 1, 1, 1}, 4000),
                      .kind = PoolKind::kMax,
                      .kernel = window,
                      .strides = window};
    for (int64_t place = 0; place < window[0] * window[1]; ++place) {
      float& value = memory_[static_cast<size_t>(place)];
      const float before = std::exchange(value, std::nanf(""));
      Run(pool);
      if (HasFatalFailure()) return;
      EXPECT_TRUE(std::isnan(memory_[4000])) << place;
      value = before;
    }
  }
}

TEST_P(KernelTest, AnInputThatIsRepeatedBeyondAllBoundsIsNotStaged) {
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

TEST_P(KernelTest, CombinesPairsAndRepeats) {
  const std::function<double(double, double)> want[] = {
      [](double a, double b) { return a + b; },
      [](double a, double b) { return a - b; },
      [](double a, double b) { return a * b; },
      [](double a, double b) { return a / b; },
      [](double a, double b) { return std::max(a, b); },
      [](double a, double b) { return std::min(a, b); }};
  static_assert(std::size(want) == kBinaryFunctions);
  for (uint8_t f = 0; f < kBinaryFunctions; ++f) {
    for (const Operand& b :
         {Temp({2, 3, 4}, 500), Temp({1, 3, 1}, 500), Const({1, 1, 4}), Const({1, 1, 1}, 9)}) {
      const Operand a = Temp({2, 3, 4});
      const Operand out = Temp({2, 3, 4}, 1000);
      Run(Binary{a, b, out, static_cast<BinaryFunction>(f)});
      if (HasFatalFailure()) return;
      Expect(
          out, [&](const auto& index) { return want[f](Value(a, index), Repeated(b, index)); },
          1e-5);
    }
  }
}

TEST_P(KernelTest, CopiesTransposedSlicedRepeatedAndCast) {
  Operand out = Temp({3, 4}, 1000);
  Operand transposed = Temp({3, 4});
  transposed.strides = {1, 3};
  Operand slice = Temp({3, 4}, 7);
  slice.strides = {20, 2};
  Operand repeated = Temp({3, 4}, 5);
  repeated.strides = {0, 1};
  for (const Operand& in : {Temp({3, 4}), transposed, slice, repeated}) {
    Run(Copy{in, out});
    if (HasFatalFailure()) return;
    Expect(
        out, [&](const auto& index) { return Value(in, index); }, 0);
  }
  Operand narrow = DenseOperand(kVar, DType::kBFloat16, 20000, {3, 4});
  Run(Copy{Temp({3, 4}), narrow});
  Run(Copy{narrow, out});
  Expect(
      out,
      [&](const auto& i) {
        return BFloat16ToFloat(FloatToBFloat16(Value(Temp({3, 4}), i)));
      },
      0);
  const std::vector<float> before = memory_;
  Operand bytes_in = DenseOperand(kVar, DType::kUInt8, 3, {2, 5});
  Operand bytes_out = DenseOperand(kVar, DType::kUInt8, 8001, {2, 5});
  Run(Copy{bytes_in, bytes_out});
  EXPECT_EQ(std::memcmp(reinterpret_cast<std::byte*>(memory_.data()) + 8001,
                        reinterpret_cast<const std::byte*>(before.data()) + 3, 10),
            0);
}

INSTANTIATE_TEST_SUITE_P(Kernels, KernelTest, testing::Bool(),
                         [](const auto& kind) { return kind.param ? "Small" : "Library"; });

}  // namespace
}  // namespace nrtd::sim
