// SPDX-License-Identifier: Apache-2.0
//
// Tensor instructions against a few lines of scalar code that say what they mean; convolutions and
// matrix products have files of their own.
#include "driver_shim/sim/kernels/make_kernel.h"
#include "driver_shim/sim/kernels/small.h"
#include "test/driver_shim/kernel_fixture.h"

namespace nrtd::sim {
namespace {

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
      {Function::kErf, 0, 0, [](double x) { return std::erf(x); }},
      {Function::kFloor, 0, 0, [](double x) { return std::floor(x); }},
      {Function::kCeil, 0, 0, [](double x) { return std::ceil(x); }},
      {Function::kElu, 0.5F, 0, [](double x) { return x > 0 ? x : 0.5 * std::expm1(x); }},
      {Function::kSoftplus, 0, 0, [](double x) { return std::log1p(std::exp(x)); }},
      {Function::kReciprocal, 0, 0, [](double x) { return 1 / x; }},
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
        [&](const Index& index) {
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
  if (GetParam() == Kernels::kLibrary) GTEST_SKIP() << "oneDNN does not promise it";
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

TEST_P(KernelTest, CombinesPairsAndRepeats) {
  const std::function<double(double, double)> want[] = {
      [](double a, double b) { return a + b; },
      [](double a, double b) { return a - b; },
      [](double a, double b) { return a * b; },
      [](double a, double b) { return a / b; },
      [](double a, double b) { return std::max(a, b); },
      [](double a, double b) { return std::min(a, b); },
      [](double a, double b) { return std::pow(a, b); }};
  for (int i = 0; i < 24; ++i) memory_[i] = std::abs(memory_[i]);  // for the powers
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

TEST_P(KernelTest, SoftmaxScalesAndMasksBefore) {
  const Operand in = Temp({2, 3, 13});
  for (const Operand& mask : {Temp({2, 3, 13}, 500), Temp({2, 1, 13}, 500), Temp({1, 3, 1}, 500)}) {
    for (int64_t axis : {1, 2}) {
      for (const Operand& out : {Temp({2, 3, 13}, 1000), in}) {
        const std::vector<float> before = memory_;
        const auto z = [&](const Index& index) {
          auto at = index;
          for (size_t d = 0; d < at.size(); ++d) {
            if (mask.dims[d] == 1) at[d] = 0;
          }
          return -0.5 * before[At(in, index)] + before[At(mask, at)];
        };
        const auto kernel = MakeSoftmaxKernel({in, out, axis, -0.5F, mask});
        ASSERT_NE(kernel, nullptr);
        ASSERT_TRUE(kernel->Run());
        Expect(
            out,
            [&](const Index& index) {
              double sum = 0;
              for (int64_t i = 0; i < in.dims[static_cast<size_t>(axis)]; ++i) {
                auto other = index;
                other[static_cast<size_t>(axis)] = i;
                sum += std::exp(z(other));
              }
              return std::exp(z(index)) / sum;
            },
            1e-5);
        memory_ = before;
      }
    }
  }
}

TEST_P(KernelTest, SoftmaxOfFarApartValuesIsExact) {
  const Operand in = Temp({1, 20});
  for (int i = 0; i < 20; ++i) memory_[i] = i == 3 ? 500.0F : -10000.0F;
  Run(Softmax{in, Temp({1, 20}, 100), 1});
  for (int i = 0; i < 20; ++i) EXPECT_NEAR(memory_[100 + i], i == 3 ? 1 : 0, 1e-30) << i;
}

TEST_P(KernelTest, NormalisesRows) {
  Operand strided = Temp({3, 21});
  strided.strides = {1, 3};
  for (const Operand& in : {Temp({3, 21}), Temp({3, 8}), Temp({2, 2, 5}), strided}) {
    const int64_t count = in.dims.back();
    for (const std::optional<Operand>& scale :
         {std::optional<Operand>(), std::optional(Const({count})),
          std::optional(Temp({count}, 400))}) {
      const std::optional<Operand> bias = scale ? std::optional(Const({count}, 50)) : std::nullopt;
      const Operand out = Temp(in.dims, 1000);
      Run(LayerNorm{in, scale, bias, out, 1e-3F});
      if (HasFatalFailure()) return;
      Expect(
          out,
          [&](const Index& index) {
            double mean = 0;
            double variance = 0;
            auto at = index;
            for (at.back() = 0; at.back() < count; ++at.back()) mean += Value(in, at);
            mean /= static_cast<double>(count);
            for (at.back() = 0; at.back() < count; ++at.back())
              variance += std::pow(Value(in, at) - mean, 2);
            variance /= static_cast<double>(count);
            const double y = (Value(in, index) - mean) / std::sqrt(variance + 1e-3);
            const Index column{index.back()};
            return y * (scale ? Value(*scale, column) : 1) + (bias ? Value(*bias, column) : 0);
          },
          1e-4);
    }
  }
}

TEST_P(KernelTest, ReducesOverAnyDimensions) {
  const std::function<double(double, double)> combine[] = {
      [](double a, double b) { return a + b; }, [](double a, double b) { return a + b; },
      [](double a, double b) { return std::max(a, b); },
      [](double a, double b) { return std::min(a, b); }, [](double a, double b) { return a * b; }};
  static_assert(std::size(combine) == kReductions);
  const double starts[] = {0, 0, -INFINITY, INFINITY, 1};
  Operand transposed = Temp({3, 4, 17});
  transposed.strides = {1, 3, 12};
  for (const Operand& in : {Temp({3, 4, 17}), transposed}) {
    for (const std::vector<int64_t>& kept : std::vector<std::vector<int64_t>>{
             {3, 4, 1}, {3, 1, 17}, {1, 4, 17}, {1, 1, 1}, {1, 4, 1}, {3, 4, 17}}) {
      for (uint8_t kind = 0; kind < kReductions; ++kind) {
        const Operand out = Temp(kept, 1000);
        Run(Reduce{in, out, static_cast<Reduction>(kind)});
        if (HasFatalFailure()) return;
        Expect(
            out,
            [&](const Index& index) {
              double result = starts[kind];
              double count = 0;
              ForEach(in.dims, [&](const Index& from) {
                for (size_t d = 0; d < kept.size(); ++d) {
                  if (kept[d] != 1 && from[d] != index[d]) return;
                }
                result = combine[kind](result, Value(in, from));
                ++count;
              });
              return kind == static_cast<uint8_t>(Reduction::kMean) ? result / count : result;
            },
            1e-4);
      }
    }
  }
}

// A NaN once was lost at the next number, and with it the extreme found before it.
TEST_P(KernelTest, ANaNStaysInAReductionWhateverComesBehindIt) {
  constexpr int64_t kRows = 5;
  constexpr int64_t kColumns = 19;
  const Operand rows = Temp({kRows, kColumns});
  Operand transposed = rows;
  transposed.strides = {1, kRows};
  for (Reduction kind : {Reduction::kMaximum, Reduction::kMinimum}) {
    for (const Operand& in : {rows, transposed}) {
      for (const std::vector<int64_t>& kept :
           std::vector<std::vector<int64_t>>{{kRows, 1}, {1, kColumns}, {1, 1}}) {
        for (const Index& place : {Index{0, 0}, Index{2, 9}, Index{kRows - 1, kColumns - 1}}) {
          ForEach(in.dims, [&](const auto& index) {
            Value(in, index) = static_cast<float>(index[0] * 7 % 5 - index[1] * 3 % 11);
          });
          Value(in, place) = NAN;
          const Operand out = Temp(kept, 1000);
          Run(Reduce{in, out, kind});
          if (HasFatalFailure()) return;
          ForEach(kept, [&](const auto& index) {
            const bool there =
                (kept[0] == 1 || index[0] == place[0]) && (kept[1] == 1 || index[1] == place[1]);
            EXPECT_EQ(std::isnan(Value(out, index)), there)
                << ShapeText(kept) << " at " << index.Text();
          });
        }
      }
    }
  }
}

// Every type to every other, by the values that all of them have.
TEST_P(KernelTest, CastsBetweenAllTypes) {
  constexpr DType kTypes[] = {DType::kFloat32, DType::kBFloat16, DType::kFloat16,
                              DType::kFloat64, DType::kInt8,     DType::kUInt8,
                              DType::kInt32,   DType::kInt64,    DType::kBool};
  const Operand in = Temp({2});
  const Operand out = Temp({2}, 1000);
  for (DType from : kTypes) {
    for (DType to : kTypes) {
      memory_[0] = 0;
      memory_[1] = from == DType::kBool || to == DType::kBool ? 1 : 100;
      const Operand first = DenseOperand(kVar, from, 2000, {2});
      const Operand second = DenseOperand(kVar, to, 2400, {2});
      Run(Copy{in, first});
      Run(Copy{first, second});
      Run(Copy{second, out});
      if (HasFatalFailure()) return;
      EXPECT_EQ(memory_[1000], 0) << DTypeName(from) << " to " << DTypeName(to);
      EXPECT_EQ(memory_[1001], memory_[1]) << DTypeName(from) << " to " << DTypeName(to);
    }
  }
  memory_[0] = 1e10F;
  memory_[1] = NAN;
  const Operand small = DenseOperand(kVar, DType::kInt8, 2000, {2});
  Run(Copy{in, small});
  Run(Copy{small, out});
  EXPECT_EQ(memory_[1000], 127);
  EXPECT_EQ(memory_[1001], 0);
}

TEST_P(KernelTest, CastsBetweenIntegersWrapAround) {
  auto* numbers = reinterpret_cast<std::byte*>(memory_.data());
  const int64_t wide[] = {300, -1, int64_t{1} << 40, INT64_MIN + 5};
  std::memcpy(numbers + 2000, wide, sizeof(wide));
  const auto at = [](DType dtype, uint64_t offset) {
    return DenseOperand(kVar, dtype, offset, {4});
  };
  Run(Copy{at(DType::kInt64, 2000), at(DType::kUInt8, 2400)});
  Run(Copy{at(DType::kInt64, 2000), at(DType::kInt8, 2500)});
  Run(Copy{at(DType::kInt64, 2000), at(DType::kInt32, 2600)});
  for (size_t i = 0; i < std::size(wide); ++i) {
    uint8_t byte = 0;
    int8_t small = 0;
    int32_t middle = 0;
    std::memcpy(&byte, numbers + 2400 + i, sizeof(byte));
    std::memcpy(&small, numbers + 2500 + i, sizeof(small));
    std::memcpy(&middle, numbers + 2600 + 4 * i, sizeof(middle));
    EXPECT_EQ(byte, static_cast<uint8_t>(wide[i]));
    EXPECT_EQ(small, static_cast<int8_t>(wide[i]));
    EXPECT_EQ(middle, static_cast<int32_t>(wide[i]));
  }
}

// Small products and oneDNN's, with functions that oneDNN has and has not.
TEST_P(KernelTest, AppliesAFunctionOnTheWayOut) {
  for (const auto& fused : {Fused{Function::kRelu, 0, 0}, Fused{Function::kLinear, 2, -1},
                            Fused{Function::kFloor, 0, 0}}) {
    const auto apply = [&](double x) {
      if (fused.function == Function::kRelu) return std::max(x, 0.0);
      return fused.function == Function::kLinear ? 2 * x - 1 : std::floor(x);
    };
    MatMul product{Temp({3, 4}),       Const({4, 5}),       std::nullopt,
                   Temp({3, 5}, 1000), Precision::kFloat32, fused};
    Run(product);
    if (HasFatalFailure()) return;
    Expect(
        product.c,
        [&](const auto& index) {
          double sum = 0;
          for (int64_t k = 0; k < 4; ++k)
            sum += Value(product.a, {index[0], k}) * Value(product.b, {k, index[1]});
          return apply(sum);
        },
        1e-5);
  }
}

TEST_P(KernelTest, AppliesAFunctionToPairs) {
  for (int i = 0; i < 12; ++i) memory_[i] = std::abs(memory_[i]);  // for the powers
  for (const auto function : {BinaryFunction::kAdd, BinaryFunction::kPower}) {
    for (const auto& fused : {Fused{Function::kRelu, 0, 0}, Fused{Function::kFloor, 0, 0}}) {
      const Operand a = Temp({3, 4});
      const Operand b = Const({1, 4});
      const Operand out = Temp({3, 4}, 1000);
      Run(Binary{a, b, out, function, fused});
      if (HasFatalFailure()) return;
      Expect(
          out,
          [&](const auto& index) {
            const double x = Value(a, index);
            const double y = Repeated(b, index);
            const double z = function == BinaryFunction::kAdd ? x + y : std::pow(x, y);
            return fused.function == Function::kRelu ? std::max(z, 0.0) : std::floor(z);
          },
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

INSTANTIATE_TEST_SUITE_P(Kernels, KernelTest, kAllKernels, NameOf);

}  // namespace
}  // namespace nrtd::sim
