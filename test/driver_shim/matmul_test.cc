// SPDX-License-Identifier: Apache-2.0
//
// Matrix products against a few lines of scalar code that say what they mean.
#include <algorithm>
#include <initializer_list>
#include <optional>
#include <stop_token>

#include "driver_shim/sim/kernels/batch_matmul.h"
#include "driver_shim/sim/kernels/kernel.h"
#include "driver_shim/sim/kernels/packed_product.h"
#include "driver_shim/sim/kernels/small.h"
#include "test/driver_shim/kernel_fixture.h"

namespace nrtd::sim {
namespace {

class MatMulTest : public KernelTest {};

TEST_P(MatMulTest, MultipliesMatricesInEveryForm) {
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
          [&](const Index& index) {
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

TEST_P(MatMulTest, MultipliesLargerMatricesByConstantsInEveryForm) {
  struct Case {
    const char* name;
    Operand a, b;
    std::optional<Operand> bias;
    Operand c;
    std::optional<Fused> fused;
  };
  constexpr uint64_t kAt = 20000;
  const Fused gelu{Function::kGeluErf};
  Operand transposed = Const({40, 65});
  transposed.strides = {1, 40};
  Operand apart = Temp({2, 5, 40});
  apart.strides = {300, 50, 1};
  Operand written = Temp({2, 5, 65}, kAt);
  written.strides = {70, 140, 1};
  Operand few = Temp({6, 40});
  few.strides = {50, 1};
  Operand wide = Const({40, 150});
  wide.strides = {1, 40};
  Operand uneven = Temp({2, 2, 40});
  uneven.strides = {200, 50, 1};
  const Case cases[] = {
      {"plain", Temp({10, 40}), Const({40, 65}), std::nullopt, Temp({10, 65}, kAt), std::nullopt},
      {"bias", Temp({10, 40}), Const({40, 65}), Const({1, 65}, 3000), Temp({10, 65}, kAt), gelu},
      {"one row", Temp({1, 129}), Const({129, 128}), Const({1, 128}, 3), Temp({1, 128}, kAt), gelu},
      {"two rows", Temp({2, 40}), Const({40, 250}), Const({1, 1}, 3000), Temp({2, 250}, kAt),
       Fused{}},
      {"four rows", Temp({4, 300}), Const({300, 20}), std::nullopt, Temp({4, 20}, kAt),
       Fused{Function::kTanh}},
      {"six rows apart", few, Const({40, 80}), Const({1, 80}, 3000), Temp({6, 80}, kAt),
       std::nullopt},
      {"few rows, transposed", Temp({3, 40}), wide, std::nullopt, Temp({3, 150}, kAt), gelu},
      {"few rows in pairs", uneven, Const({1, 40, 110}), std::nullopt, Temp({2, 2, 110}, kAt),
       Fused{}},
      {"odd depth", Temp({9, 41}), Const({41, 130}), std::nullopt, Temp({9, 130}, kAt), Fused{}},
      {"transposed", Temp({10, 40}), transposed, Const({1, 65}, 3000), Temp({10, 65}, kAt),
       Fused{Function::kClip, -1, 2}},
      {"rows apart", apart, Const({1, 40, 65}), Const({1, 1, 65}, 3000), written, Fused{}},
      {"many rows", Temp({34, 40}), Const({40, 65}), Const({1, 65}, 3000), Temp({34, 65}, kAt),
       Fused{}},
      {"one bias for all", Temp({10, 40}), Const({40, 65}), Const({1, 1}, 3000),
       Temp({10, 65}, kAt), Fused{Function::kTanh}},
  };
  for (Precision precision : {Precision::kFloat32, Precision::kBFloat16}) {
    for (const Case& test : cases) {
      SCOPED_TRACE(test.name);
      const MatMul matmul{test.a, test.b, test.bias, test.c, precision, test.fused};
      ASSERT_GT(MacCount(matmul), kSmallMatMulMacs);
      Run(matmul);
      if (HasFatalFailure()) return;
      const auto round = [&](float v) {
        return precision == Precision::kBFloat16 ? BFloat16ToFloat(FloatToBFloat16(v)) : v;
      };
      Expect(
          test.c,
          [&](Index index) {
            double sum = test.bias ? Repeated(*test.bias, index) : 0;
            const size_t rank = index.size();
            auto a = index;
            auto b = index;
            for (size_t d = 0; d + 2 < rank; ++d) b[d] = 0;
            for (int64_t k = 0; k < test.a.dims[rank - 1]; ++k) {
              a[rank - 1] = b[rank - 2] = k;
              sum += double{round(Value(test.a, a))} * round(Value(test.b, b));
            }
            if (!test.fused) return sum;
            if (test.fused->function == Function::kGeluErf)
              return sum / 2 * (1 + std::erf(sum / std::sqrt(2.0)));
            if (test.fused->function == Function::kClip) return std::clamp(sum, -1.0, 2.0);
            return test.fused->function == Function::kTanh ? std::tanh(sum) : std::max(sum, 0.0);
          },
          1e-5);
      if (HasFatalFailure()) return;
    }
  }
}

// A step of a dimension of 1 says nothing; the library fails when it runs if rows seem to overlap.
TEST_P(MatMulTest, AProductOfOneRowIsWrittenWhereATransposeWouldPutIt) {
  const Operand a = Temp({1, 3, 1, 80});
  const Operand b = Temp({1, 3, 80, 64}, 1000);
  Operand c = Temp({1, 3, 1, 64}, 20000);
  c.strides = {1, 64, 1, 1};
  for (Precision precision : {Precision::kFloat32, Precision::kBFloat16}) {
    Run(MatMul{a, b, std::nullopt, c, precision});
    if (HasFatalFailure()) return;
    const auto round = [&](float v) {
      return precision == Precision::kBFloat16 ? BFloat16ToFloat(FloatToBFloat16(v)) : v;
    };
    Expect(
        c,
        [&](const auto& index) {
          double sum = 0;
          for (int64_t k = 0; k < 80; ++k)
            sum += double{round(Value(a, {0, index[1], 0, k}))} *
                   round(Value(b, {0, index[1], k, index[3]}));
          return sum;
        },
        1e-5);
  }
}

TEST_P(MatMulTest, WeightsStoredInBFloat16GiveWhatRoundedOnesGive) {
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

TEST_P(MatMulTest, ReplicasShareOneCopyOfPackedWeights) {
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

// Networks that were compiled for one row and for several: the last layer of an image network.
TEST_P(MatMulTest, ProductsOfFewRowsShareOneCopyOfPackedWeights) {
  if (GetParam() == Kernels::kLibrary) GTEST_SKIP() << "the library's forms differ";
  if (Float32Form() == nullptr || (HasAvx512() && BFloat16Form() == nullptr))
    GTEST_SKIP() << "the library multiplies on this CPU";
  Scratch scratch;
  const KernelContext context = Context(&scratch);
  std::vector<std::unique_ptr<Kernel>> kernels;
  uint64_t bytes = 0;
  for (const int64_t rows : {1, 4, 6}) {
    auto kernel = MakeKernel(MatMul{Temp({rows, 130}), Const({130, 128}), std::nullopt,
                                    Temp({rows, 128}, 20'000), Precision::kBFloat16},
                             context);
    ASSERT_TRUE(kernel) << kernel.error().text;
    if (rows == 1) bytes = weights_.bytes();
    EXPECT_GE(bytes, 2U * 130 * 128);
    EXPECT_EQ(weights_.bytes(), bytes) << rows << " rows";
    kernels.push_back(std::move(*kernel));
  }
}

TEST_P(MatMulTest, NothingIsKeptOfWeightsThatNobodyWantsAnyMore) {
  for (const int64_t depth : {3, 64}) {  // a small product and a large one
    for (const Precision precision : {Precision::kFloat32, Precision::kBFloat16}) {
      const MatMul matmul{Temp({64, depth}), Const({depth, 80}), std::nullopt,
                          Temp({64, 80}, 30'000), precision};
      Scratch scratch;
      KernelContext context = Context(&scratch);
      std::stop_source gone;
      context.stop = gone.get_token();
      gone.request_stop();
      const auto kernel = MakeKernel(matmul, context);
      ASSERT_FALSE(kernel);
      EXPECT_EQ(kernel.error().code, Nerr::kInvalidHandle);
      EXPECT_EQ(weights_.bytes(), 0U);
    }
  }
}

TEST_P(MatMulTest, MultipliesBatchesThatTheNetworkMakes) {
  if (TakesTooLong()) GTEST_SKIP() << "in pieces it takes too long under a sanitizer";
  constexpr uint64_t kB = 20'000;
  constexpr uint64_t kC = 44'000;
  struct Case {
    const char* name;
    std::vector<int64_t> a_dims, a;  // dimensions and strides; the others' likewise
    std::vector<int64_t> b_dims, b;
    std::vector<int64_t> c;
    bool ours = true;  // by the kernel that is ours, where the CPU has the instructions
  };
  // Heads lie beside each other in rows of tokens, as attention has them.
  const Case cases[] = {
      {"queries by keys", {3, 20, 16}, {16, 48, 1}, {3, 16, 33}, {16, 1, 48}, {660, 33, 1}},
      {"weights by values", {3, 20, 33}, {660, 33, 1}, {3, 33, 16}, {16, 48, 1}, {16, 48, 1}},
      {"odd depth, two panels",
       {2, 17, 35},
       {600, 35, 1},
       {2, 35, 70},
       {2450, 1, 35},
       {1190, 70, 1}},
      {"odd depth in rows", {2, 17, 35}, {600, 35, 1}, {2, 35, 70}, {2450, 70, 1}, {1190, 70, 1}},
      {"two blocks of rows", {2, 18, 801}, {0, 801, 1}, {2, 801, 10}, {8010, 10, 1}, {180, 10, 1}},
      {"two blocks of columns",
       {2, 18, 801},
       {0, 801, 1},
       {2, 801, 10},
       {8010, 1, 801},
       {180, 10, 1}},
      {"many rows, apart", {1, 200, 9}, {0, 9, 1}, {1, 9, 18}, {0, 18, 1}, {0, 20, 1}},
      {"shared keys", {3, 20, 40}, {800, 40, 1}, {1, 40, 33}, {7, 1, 40}, {660, 33, 1}},
      {"two leading dimensions",
       {2, 1, 20, 16},
       {320, 9, 16, 1},
       {1, 3, 16, 24},
       {9, 16, 1, 48},
       {1440, 480, 24, 1}},
      {"columns of both",
       {2, 24, 30},
       {720, 1, 24},
       {2, 30, 24},
       {720, 1, 30},
       {576, 24, 1},
       false},
  };
  const std::vector<float> before = memory_;
  for (Precision precision : {Precision::kFloat32, Precision::kBFloat16}) {
    const auto round = [&](float v) {
      return precision == Precision::kBFloat16 ? BFloat16ToFloat(FloatToBFloat16(v)) : v;
    };
    for (const auto fused :
         {std::optional<Fused>(), std::optional<Fused>(Fused{Function::kTanh})}) {
      for (const Case& test : cases) {
        SCOPED_TRACE(test.name);
        memory_ = before;
        MatMul matmul{Temp(test.a_dims), Temp(test.b_dims, kB),
                      std::nullopt,      Temp(test.a_dims, kC),
                      precision,         fused};
        const size_t rank = test.a_dims.size();
        for (size_t d = 0; d + 2 < rank; ++d)
          matmul.c.dims[d] = std::max(test.a_dims[d], test.b_dims[d]);
        matmul.c.dims[rank - 1] = test.b_dims[rank - 1];
        matmul.a.strides = test.a;
        matmul.b.strides = test.b;
        matmul.c.strides = test.c;
        ASSERT_GT(MacCount(matmul), kSmallMatMulMacs);
        Scratch scratch;
        EXPECT_EQ(MakeBatchMatMul(matmul, Context(&scratch)) != nullptr,
                  test.ours && UsesBFloat16(precision));
        Run(matmul);
        if (HasFatalFailure()) return;
        Expect(
            matmul.c,
            [&](Index index) {
              double sum = 0;
              auto a = index;
              auto b = index;
              for (int64_t k = 0; k < test.a_dims[rank - 1]; ++k) {
                a[rank - 1] = b[rank - 2] = k;
                sum += double{round(Repeated(matmul.a, a))} * round(Repeated(matmul.b, b));
              }
              return fused ? std::tanh(sum) : sum;
            },
            3e-5);
        if (HasFatalFailure()) return;
        // Nothing else was written.
        ForEach(matmul.c.dims, [&](const auto& index) {
          const size_t at = At(matmul.c, index);
          memory_[at] = before[at];
        });
        EXPECT_EQ(memory_, before);
      }
    }
  }
}

// A few bytes of a NEFF once asked for gigabytes of tables, or of packed matrices.
TEST_P(MatMulTest, BatchesBeyondAllBoundsAreTheLibrarys) {
  Scratch scratch;
  const auto is_ours = [&](std::vector<int64_t> a_dims, std::vector<int64_t> b_dims) {
    MatMul matmul{Temp(a_dims), Temp(b_dims), std::nullopt, Temp(a_dims), Precision::kBFloat16};
    matmul.c = Temp({a_dims[0], a_dims[1], b_dims[2]});
    matmul.a.strides = {0, 0, 1};
    matmul.b.strides = {0, 0, 1};
    return MakeBatchMatMul(matmul, Context(&scratch)) != nullptr;
  };
  EXPECT_EQ(is_ours({4, 64, 64}, {4, 64, 64}), UsesBFloat16(Precision::kBFloat16));
  constexpr int64_t kMany = int64_t{1} << 20;
  EXPECT_FALSE(is_ours({kMany, 16, 8}, {kMany, 8, 8}));   // batches
  EXPECT_FALSE(is_ours({1, kMany, 8}, {1, 8, 8}));        // rows
  EXPECT_FALSE(is_ours({1, 64, kMany}, {1, kMany, 16}));  // depth
  EXPECT_FALSE(is_ours({1, 16, 256}, {1, 256, kMany}));   // columns
}

// The library says that a matrix of one value, repeated, takes no bytes: it once got none.
TEST_P(MatMulTest, MultipliesOperandsThatAreRepeated) {
  if (TakesTooLong()) GTEST_SKIP() << "in pieces it takes too long under a sanitizer";
  constexpr int64_t kRows = 33;
  constexpr int64_t kDepth = 40;
  constexpr int64_t kColumns = 48;
  const std::vector<std::vector<int64_t>> forms = {{0, 0}, {0, 1}, {1, 0}, {64, 0}};
  for (Precision precision : {Precision::kFloat32, Precision::kBFloat16}) {
    const auto round = [&](float v) {
      return precision == Precision::kBFloat16 ? BFloat16ToFloat(FloatToBFloat16(v)) : v;
    };
    for (const auto& a_strides : forms) {
      for (const auto& b_strides : forms) {
        for (uint32_t weights : {kVar, kConst}) {
          MatMul product;
          product.a = Temp({kRows, kDepth});
          product.a.strides = a_strides;
          product.b = {weights, DType::kFloat32, 20'000, {kDepth, kColumns}, b_strides};
          product.c = Temp({kRows, kColumns}, 20'000);
          product.precision = precision;
          Run(product);
          if (HasFatalFailure()) return;
          Expect(
              product.c,
              [&](const Index& index) {
                double sum = 0;
                for (int64_t k = 0; k < kDepth; ++k) {
                  sum += double{round(Value(product.a, {index[0], k}))} *
                         round(Value(product.b, {k, index[1]}));
                }
                return sum;
              },
              1e-4);
        }
      }
    }
  }
}

// A few bytes of a NEFF once asked for tens of GiB of packed weights.
TEST_P(MatMulTest, WeightsThatAreRepeatedBeyondAllBoundsAreNotPacked) {
  constexpr int64_t kMany = 6'144;
  constexpr uint64_t kHarmless = uint64_t{64} << 20;
  for (Precision precision : {Precision::kFloat32, Precision::kBFloat16}) {
    MatMul product;
    product.a = {.var_id = kVar, .dims = {4, kMany}, .strides = {0, 1}};
    product.b = {.var_id = kConst, .dims = {kMany, kMany}, .strides = {0, 0}};
    product.c = Temp({4, kMany});
    product.precision = precision;
    MatMul column = product;  // which a panel makes sixteen times as large
    column.b = {.var_id = kConst, .dims = {kMany * 256, 1}, .strides = {0, 1}};
    column.a = {.var_id = kVar, .dims = {4, kMany * 256}, .strides = {0, 0}};
    column.c = Temp({4, 1});
    Conv2d conv;
    conv.input = {.var_id = kVar, .dims = {1, kMany, 30, 1}, .strides = {kMany, 1, 0, kMany}};
    conv.weights = {.var_id = kConst, .dims = {kMany, kMany, 1, 1}, .strides = {0, 1, 0, 0}};
    conv.output = {
        .var_id = kVar, .dims = {1, kMany, 30, 1}, .strides = {30 * kMany, 1, kMany, kMany}};
    conv.precision = precision;
    constexpr int64_t kChannels = 2'048;
    Conv2d winograd;
    winograd.input = {
        .var_id = kVar, .dims = {1, kChannels, 16, 8}, .strides = {kChannels, 1, 0, kChannels}};
    winograd.weights = {
        .var_id = kConst, .dims = {kChannels, kChannels, 3, 3}, .strides = {0, 1, 0, 0}};
    winograd.output = {.var_id = kVar,
                       .dims = {1, kChannels, 14, 6},
                       .strides = {14 * 6 * kChannels, 1, 6 * kChannels, kChannels}};
    winograd.precision = precision;
    for (const Instruction& instruction :
         std::initializer_list<Instruction>{product, column, conv, winograd}) {
      Scratch scratch;
      // The library may refuse what is so unusual.
      const auto kernel = MakeKernel(instruction, Context(&scratch));
      EXPECT_LE(weights_.bytes(), kHarmless) << OpcodeName(OpcodeOf(instruction));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, MatMulTest, kAllKernels, NameOf);

}  // namespace
}  // namespace nrtd::sim
