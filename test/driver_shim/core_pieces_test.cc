// SPDX-License-Identifier: Apache-2.0
//
// The longest instructions that a program can ask for: a core that runs them looks at its limit as
// often as it promises.
#include <gtest/gtest.h>

#include "driver_shim/sim/kernels/work.h"
#include "driver_shim/sim/sim_core.h"
#include "test/driver_shim/look_clock.h"
#include "test/driver_shim/sim_fixture.h"

namespace nrtd::sim {
namespace {

constexpr uint64_t kVariableBytes = uint64_t{3} << 30;  // of each of two variables
constexpr uint32_t kVariable = 0;                       // written and read
constexpr uint32_t kFixed = 1;                          // only read

Operand View(std::vector<int64_t> dims, std::vector<int64_t> strides, DType dtype = DType::kFloat32,
             uint32_t variable = kVariable, uint64_t offset = 0) {
  return {variable, dtype, offset, std::move(dims), std::move(strides)};
}
Operand Dense(std::vector<int64_t> dims, DType dtype = DType::kFloat32,
              uint32_t variable = kVariable) {
  return DenseOperand(variable, dtype, 0, std::move(dims));
}
// One element, as often as it takes.
Operand Same(std::vector<int64_t> dims, DType dtype = DType::kFloat32,
             uint32_t variable = kVariable) {
  std::vector<int64_t> strides(dims.size(), 0);
  return View(std::move(dims), std::move(strides), dtype, variable);
}

struct LongCase {
  const char* name;
  Engine engine;
  Instruction instruction;
  bool refused = false;  // it cannot be cut finely enough
};
void PrintTo(const LongCase& test, std::ostream* out) {
  *out << test.name;
}

constexpr int64_t kMany = int64_t{1} << 29;  // floats of 2 GiB

Instruction Product(Operand a, Operand b, Operand c, Precision precision = Precision::kFloat32) {
  return MatMul{std::move(a), std::move(b), std::nullopt, std::move(c), precision};
}
Instruction Convolution(Operand input, Operand weights, Operand output,
                        std::array<int64_t, 4> pads = {}, int64_t groups = 1,
                        Precision precision = Precision::kFloat32) {
  Conv2d conv{std::move(input), std::move(weights), std::nullopt, std::move(output)};
  conv.pads = pads;
  conv.groups = groups;
  conv.precision = precision;
  return conv;
}
Instruction Pool(Operand input, Operand output, std::array<int64_t, 2> kernel,
                 PoolKind kind = PoolKind::kMax) {
  Pool2d pool{std::move(input), std::move(output), kind, kernel};
  return pool;
}

std::vector<LongCase> LongCases() {
  const auto pe = Engine::kPe;
  const auto act = Engine::kAct;
  const auto pool = Engine::kPool;
  const int64_t page = 1024;  // floats
  return {
      {"MatMulOfOneElement", pe,
       Product(Same({8192, 16384}), Same({16384, 8192}), Dense({8192, 8192}))},
      {"MatMulOfOneElementBFloat16", pe,
       Product(Same({8192, 16384}), Same({16384, 8192}), Dense({8192, 8192}),
               Precision::kBFloat16)},
      {"MatMulDense", pe, Product(Dense({8192, 8192}), Dense({8192, 8192}), Dense({8192, 8192}))},
      {"MatMulOfConstants", pe,
       Product(Dense({2048, 8192}), Dense({8192, 8192}, DType::kFloat32, kFixed),
               Dense({2048, 8192}))},
      {"MatMulOfConstantsBFloat16", pe,
       Product(Dense({2048, 8192}), Dense({8192, 8192}, DType::kFloat32, kFixed),
               Dense({2048, 8192}), Precision::kBFloat16)},
      {"MatMulOfOneRow", pe, Product(Dense({1, 16384}), Dense({16384, 32768}), Dense({1, 32768}))},
      {"MatMulOfOneRowOfConstants", pe,
       Product(Dense({1, 16384}), Dense({16384, 16384}, DType::kFloat32, kFixed),
               Dense({1, 16384}))},
      {"MatMulOfSmallMatrices", pe,
       Product(Dense({1 << 20, 2, 2}), Same({1 << 20, 2, 2}), Dense({1 << 20, 2, 2}))},
      {"MatMulOfBatches", pe,
       Product(Dense({512, 256, 256}), Dense({512, 256, 256}), Dense({512, 256, 256}),
               Precision::kBFloat16)},
      {"MatMulWithGaps", pe,
       Product(View({1024, 256}, {page * 256, page}), View({256, 512}, {page * 512, page}),
               Dense({1024, 512}))},
      {"MatMulOfTallMatrices", pe, Product(Same({kMany, 1}), Same({1, 1}), Dense({kMany, 1}))},
      {"MatMulOfTallConstants", pe,
       Product(Dense({1 << 24, 16}), Dense({16, 16}, DType::kFloat32, kFixed), Dense({1 << 24, 16}),
               Precision::kBFloat16)},
      {"MatMulOfAnEndlessSum", pe, Product(Same({1, kMany}), Same({kMany, 1}), Dense({1, 1})),
       true},
      {"ConvolutionOfOneElement", pe,
       Convolution(Same({1, 512, 258, 258}), Same({512, 512, 3, 3}), Dense({1, 512, 256, 256}))},
      {"ConvolutionOfConstants", pe,
       Convolution(View({1, 512, 258, 258}, {512 * 258 * 258, 1, 512 * 258, 512}),
                   Dense({512, 512, 3, 3}, DType::kFloat32, kFixed),
                   View({1, 512, 256, 256}, {512 * 256 * 256, 1, 512 * 256, 512}))},
      {"ConvolutionChannelsFirst", pe,
       Convolution(Dense({8, 64, 256, 256}), Dense({64, 64, 3, 3}, DType::kFloat32, kFixed),
                   Dense({8, 64, 256, 256}), {1, 1, 1, 1}, 1, Precision::kBFloat16)},
      {"ConvolutionOfGroups", pe,
       Convolution(Dense({1, 4096, 130, 130}), Dense({4096, 1, 3, 3}, DType::kFloat32, kFixed),
                   Dense({1, 4096, 128, 128}), {}, 4096)},
      {"ConvolutionOfOneChannel", pe,
       Convolution(Dense({1, 1, 8192, 8192}), Dense({1, 1, 5, 5}), Dense({1, 1, 8188, 8188}))},
      {"ConvolutionOfWideWindows", pe,
       Convolution(Same({1, 1, 2048, 2048}), Same({1, 1, 512, 512}), Dense({1, 1, 1537, 1537}))},
      {"ConvolutionWithGaps", pe,
       Convolution(View({1, 8, 258, 258}, {0, 1, 258 * page, page}), Same({8, 8, 3, 3}),
                   Dense({1, 8, 256, 256}))},
      {"ActivationDense", act, Activation{Dense({kMany}), Dense({kMany}), Function::kGeluErf}},
      {"ActivationMapped", act, Activation{Dense({kMany}), Dense({kMany}), Function::kErf}},
      {"ActivationWithGaps", act,
       Activation{View({kMany / page}, {page}), View({kMany / page}, {page}), Function::kTanh}},
      {"ActivationOfOneElement", act, Activation{Same({kMany}), Dense({kMany}), Function::kExp}},
      {"SoftmaxOfManyRows", act, Softmax{Dense({1 << 20, 512}), Dense({1 << 20, 512}), 1}},
      {"SoftmaxAcrossRows", act, Softmax{Dense({4096, 131072}), Dense({4096, 131072}), 0}},
      {"SoftmaxOfAnEndlessRow", act, Softmax{Same({kMany}), Dense({kMany}), 0}, true},
      {"LayerNormOfManyRows", act,
       LayerNorm{Dense({1 << 19, 1024}), std::nullopt, std::nullopt, Dense({1 << 19, 1024})}},
      {"LayerNormWithGaps", act,
       LayerNorm{View({256, 1024}, {1, 256 * page / 512}), std::nullopt, std::nullopt,
                 View({256, 1024}, {1, 256 * page / 512})}},
      {"LayerNormOfAnEndlessRow", act,
       LayerNorm{Same({1, kMany}), std::nullopt, std::nullopt, Dense({1, kMany})}, true},
      {"PoolOfWideWindows", pool,
       Pool(Same({1, 1, 4095, 4095}), Dense({1, 1, 2048, 4095}), {2048, 1})},
      {"PoolOfManyChannels", pool,
       Pool(Dense({1, 1 << 15, 128, 128}), Dense({1, 1 << 15, 126, 126}), {3, 3},
            PoolKind::kAverageExcludePad)},
      {"PoolChannelsLast", pool,
       Pool(View({1, 4096, 258, 258}, {0, 1, 4096 * 258, 4096}),
            View({1, 4096, 256, 256}, {0, 1, 4096 * 256, 4096}), {3, 3})},
      {"PoolWithGaps", pool,
       Pool(View({1, 64, 64, 64}, {0, 64 * 64, 64, 1}), View({1, 64, 62, 62}, {0, 62 * 62, 62, 1}),
            {3, 3})},
      {"PoolOfAnEndlessWindow", pool,
       Pool(Same({1, 1, 1 << 15, 1 << 15}), Dense({1, 1, 1, 1}), {1 << 15, 1 << 15}), true},
      {"BinaryDense", pool,
       Binary{Dense({kMany}), Dense({kMany}), Dense({kMany}), BinaryFunction::kDivide}},
      {"BinaryPower", pool,
       Binary{Dense({kMany}), Dense({kMany}), Dense({kMany}), BinaryFunction::kPower}},
      {"BinaryOfIntegers", pool,
       Binary{Dense({kMany / 2}, DType::kInt64), Same({kMany / 2}, DType::kInt64),
              Dense({kMany / 2}, DType::kInt64), BinaryFunction::kPower}},
      {"BinaryWithGaps", pool,
       Binary{View({4, kMany / page / 4}, {page * kMany / page / 4, page}), View({4, 1}, {1, 1}),
              View({4, kMany / page / 4}, {page * kMany / page / 4, page}), BinaryFunction::kAdd}},
      {"CopyDense", pool, Copy{Dense({kMany}, DType::kFloat32, kFixed), Dense({kMany})}},
      {"CopyOfOneElement", pool, Copy{Same({kMany}), Dense({kMany})}},
      {"CopyTransposed", pool, Copy{View({16384, 32768}, {1, 16384}), Dense({16384, 32768})}},
      {"CopyFromPageToPage", pool,
       Copy{View({kMany / page}, {page}, DType::kFloat32, kFixed), View({kMany / page}, {page})}},
      {"CopyBytes", pool,
       Copy{Same({2 * kMany - 1}, DType::kInt8), Dense({2 * kMany - 1}, DType::kInt8)}},
      {"CopyWithCast", pool, Copy{Dense({kMany}), Dense({kMany}, DType::kFloat16)}},
      {"Gather", pool,
       Gather{Dense({1, kMany / 1024, 1024}), Same({kMany / 1024}, DType::kInt32, kFixed),
              Dense({1, kMany / 1024, 1024})}},
      {"GatherOfElements", pool,
       Gather{Same({1, 16, 1}), Same({1 << 28}, DType::kInt32, kFixed), Dense({1, 1 << 28, 1})}},
      {"ReduceToOne", pool, Reduce{Dense({kMany}), Dense({1}), Reduction::kMean}},
      {"ReduceOneElementToOne", pool, Reduce{Same({1 << 30}), Dense({1}), Reduction::kSum}},
      {"ReduceColumns", pool,
       Reduce{Dense({16384, 32768}), Dense({1, 32768}), Reduction::kMaximum}},
      {"ReduceRows", pool, Reduce{Dense({16384, 32768}), Dense({16384, 1}), Reduction::kSum}},
      {"ReduceWithGaps", pool,
       Reduce{View({512, kMany / page / 512}, {page, 512 * page}), Dense({512, 1})}},
      {"Compare", pool,
       Compare{Dense({kMany}), Same({kMany}), Dense({kMany}, DType::kBool), Comparison::kLess}},
      {"Select", pool,
       Select{Same({kMany}, DType::kBool), Dense({kMany}), Same({kMany}), Dense({kMany})}},
  };
}

class CorePiecesTest : public SimFixture, public ::testing::WithParamInterface<LongCase> {};

TEST_P(CorePiecesTest, LooksOften) {
  ProgramBuilder builder(device());
  ASSERT_EQ(builder.Variable(kVariableBytes, true), kVariable);
  ASSERT_EQ(builder.Variable(kVariableBytes, false), kFixed);
  builder.image_.variables[kFixed].address = DramAddress(0, 1, 0);
  std::visit([&](const auto& i) { builder.Add(GetParam().engine, i); }, GetParam().instruction);
  if (GetParam().refused) {
    EXPECT_THROW(builder.LoadWithoutTransfers(), std::runtime_error);
    return;
  }
  const ProgramId id = builder.LoadWithoutTransfers();
  DmaRing ring = Must(DmaRing::Create(*pool_, 8));
  Must(core().AttachRing(kExecutionQueue, ring.config()));
  Must(core().Activate(id, {}));
  const Descriptor run{.kind = DescriptorKind::kExecute, .tag = 1};
  Must(ring.Push({&run, 1}));
  core().RingDoorbell(kExecutionQueue, 1);
  // Long enough for what comes first, and not as long as the instruction takes.
  LookClock clock(std::chrono::milliseconds(150));
  clock.Poll(core());
  clock.ExpectLooks();
  RecordProperty("looks", static_cast<int>(clock.looks()));
  RecordProperty("longest_us", static_cast<int>(clock.longest_ns() / 1000));
  if (std::getenv("NRTD_SHOW_TIMES") != nullptr)
    std::printf("%-32s %6llu looks, longest %6.1f ms\n", GetParam().name,
                static_cast<unsigned long long>(clock.looks()),
                static_cast<double>(clock.longest_ns()) / 1e6);
  core().Reset();
}

INSTANTIATE_TEST_SUITE_P(Instructions, CorePiecesTest, ::testing::ValuesIn(LongCases()),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace nrtd::sim
