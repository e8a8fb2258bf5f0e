// SPDX-License-Identifier: Apache-2.0
//
// The parts together compute what the whole does: every instruction that can be taken apart, by a
// team and alone.
#include "driver_shim/sim/kernels/split.h"

#include <cmath>
#include <cstring>
#include <deque>
#include <random>

#include <gtest/gtest.h>

#include "driver_shim/sim/kernels/make_kernel.h"

namespace nrtd::sim {
namespace {

constexpr uint32_t kMemory = 1;
constexpr uint32_t kConstants = 2;
constexpr size_t kOutput = size_t{4} << 20;  // elements

Operand In(std::vector<int64_t> dims, uint64_t offset = 0) {
  return DenseOperand(kMemory, DType::kFloat32, offset * sizeof(float), std::move(dims));
}
Operand Out(std::vector<int64_t> dims) {
  return In(std::move(dims), kOutput);
}
Operand Weights(std::vector<int64_t> dims) {
  return DenseOperand(kConstants, DType::kFloat32, 0, std::move(dims));
}
Operand ChannelsLast(Operand operand) {
  const auto& d = operand.dims;
  operand.strides = {d[1] * d[2] * d[3], 1, d[3] * d[1], d[1]};
  return operand;
}

struct Case {
  const char* name;
  Instruction whole;
  bool splits = true;
};

std::vector<Case> Cases() {
  Conv2d rows{ChannelsLast(In({1, 16, 65, 40})), Weights({32, 16, 3, 3}), std::nullopt,
              ChannelsLast(Out({1, 32, 33, 20}))};
  rows.strides = {2, 2};
  rows.pads = {1, 1, 1, 1};
  rows.fused = Fused{Function::kRelu, 0, 0};
  Conv2d images{In({12, 16, 20, 20}), Weights({32, 16, 3, 3}), Weights({32}),
                Out({12, 32, 18, 18})};
  Conv2d depthwise{ChannelsLast(In({1, 64, 40, 40})), Weights({64, 1, 5, 5}), std::nullopt,
                   ChannelsLast(Out({1, 64, 36, 36}))};
  depthwise.groups = 64;
  depthwise.dilations = {1, 1};
  Conv2d plain{In({1, 16, 33, 33}), Weights({32, 16, 3, 3}), std::nullopt, Out({1, 32, 31, 31})};
  MatMul columns{In({32, 256}), Weights({256, 512}), Weights({1, 512}), Out({32, 512})};
  MatMul tall{In({4096, 64}), Weights({64, 16}), std::nullopt, Out({4096, 16})};
  MatMul heads{In({1, 8, 128, 64}), In({1, 8, 64, 128}, 100'000), std::nullopt,
               Out({1, 8, 128, 128})};
  MatMul small{In({4, 8}), Weights({8, 8}), std::nullopt, Out({4, 8})};
  Pool2d pool{ChannelsLast(In({1, 64, 57, 57})), ChannelsLast(Out({1, 64, 29, 29}))};
  pool.kernel = {3, 3};
  pool.strides = {2, 2};
  pool.pads = {1, 1, 1, 1};
  Operand transposed = In({300, 400});
  transposed.strides = {1, 300};
  return {
      {"rows of one image", rows},
      {"several images", images},
      {"depthwise", depthwise},
      {"one image with its channels first", plain, false},
      {"columns", columns},
      {"rows of a product", tall},
      {"heads", heads},
      {"a small product", small, false},
      {"pooling", pool},
      {"softmax",
       Softmax{In({16, 64, 128}), Out({16, 64, 128}), 2, 0.5F, In({1, 1, 128}, 200'000)}},
      {"softmax over the first", Softmax{In({16, 64, 128}), Out({16, 64, 128}), 0}},
      {"layer norm",
       LayerNorm{In({256, 768}), Weights({768}), Weights({768}), Out({256, 768}), 1e-5F}},
      {"binary", Binary{In({500, 300}), In({1, 300}, 200'000), Out({500, 300})}},
      {"activation", Activation{In({150'000}), Out({150'000}), Function::kTanh, 0, 0}},
      {"copy", Copy{transposed, Out({300, 400})}},
  };
}

// One image under so much padding that some windows see nothing of it.
Conv2d MostlyPadding(int64_t height, int64_t window, int64_t stride, std::array<int64_t, 4> pads) {
  constexpr int64_t kWidth = 64;
  const int64_t rows = (height + pads[0] + pads[2] - window) / stride + 1;
  const int64_t columns = (kWidth - window) / stride + 1;
  Conv2d conv{ChannelsLast(In({1, 8, height, kWidth})), Weights({8, 8, window, window}),
              std::nullopt, ChannelsLast(Out({1, 8, rows, columns}))};
  conv.strides = {stride, stride};
  conv.pads = pads;
  return conv;
}

class SplitTest : public ::testing::Test {
 protected:
  SplitTest() : memory_(2 * kOutput), weights_(1 << 18) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    for (size_t i = 0; i < kOutput / 4; ++i) memory_[i] = normal(random);
    for (float& value : weights_) value = normal(random);
  }
  std::vector<float> Run(const Instruction& instruction, ThreadTeam* team) {
    std::fill(memory_.begin() + kOutput, memory_.end(), NAN);
    Scratch scratch;
    std::deque<Scratch> team_scratch;
    WeightCache cache;
    const KernelContext context{
        .resolve =
            [this](const Operand& operand) {
              auto& values = operand.var_id == kConstants ? weights_ : memory_;
              return reinterpret_cast<std::byte*>(values.data()) + operand.offset;
            },
        .constant = [](uint32_t var_id) { return var_id == kConstants; },
        .weights = &cache,
        .scratch = &scratch,
        .team = team,
        .team_scratch = &team_scratch};
    UseOneThread();
    const auto kernel = MakeKernel(instruction, context);
    EXPECT_TRUE(kernel && (*kernel)->Run());
    return {memory_.begin() + kOutput, memory_.end()};
  }

  std::vector<float> memory_;
  std::vector<float> weights_;
};

TEST_F(SplitTest, PartsComputeWhatTheWholeDoes) {
  const ProgramContext context{{{kMemory, memory_.size() * sizeof(float), true, true},
                                {kConstants, weights_.size() * sizeof(float), true, false}},
                               {}};
  ThreadTeam team(3);
  for (const Case& test : Cases()) {
    SCOPED_TRACE(test.name);
    for (unsigned count : {2U, 3U, 4U}) {
      const auto parts = Split(test.whole, count);
      EXPECT_LE(parts.size(), count);
      EXPECT_EQ(parts.size() > 1, test.splits);
      for (const Instruction& part : parts) {
        for (Engine engine : {Engine::kPe, Engine::kAct, Engine::kPool}) {
          if (!RunsOn(OpcodeOf(part), engine)) continue;
          const auto valid = Validate({engine, {part, End{}}}, context);
          EXPECT_TRUE(valid) << valid.error().text;
        }
      }
    }
    const std::vector<float> want = Run(test.whole, nullptr);
    const std::vector<float> got = Run(test.whole, &team);
    ASSERT_EQ(got.size(), want.size());
    const float* w = want.data();
    for (const float* g = got.data(); g != got.data() + got.size(); ++g, ++w) {
      if (__builtin_isnan(*w) ? __builtin_isnan(*g)
                              : std::fabs(*g - *w) <= 1e-4F * (1 + std::fabs(*w)))
        continue;
      FAIL() << "element " << g - got.data() << " is " << *g << ", expected " << *w;
    }
  }
}

// Parts below the image once got an input of negative height, and wrote in front of their memory.
TEST_F(SplitTest, PartsThatSeeOnlyPaddingAreNotMade) {
  const ProgramContext context{{{kMemory, memory_.size() * sizeof(float), true, true},
                                {kConstants, weights_.size() * sizeof(float), true, false}},
                               {}};
  const std::vector<Case> cases = {
      {"below the image", MostlyPadding(64, 3, 1, {0, 0, 200, 0})},
      {"above the image", MostlyPadding(64, 3, 1, {200, 0, 0, 0})},
      {"both", MostlyPadding(64, 3, 1, {200, 0, 400, 0})},
      {"a window of 5 in steps of 2", MostlyPadding(64, 5, 2, {0, 0, 400, 0})},
      {"an image of one row", MostlyPadding(1, 3, 1, {1, 0, 300, 0})},
      // The second part begins with row 64.
      {"a part right behind the image", MostlyPadding(64, 2, 1, {0, 0, 65, 0})},
  };
  ThreadTeam team(2);
  for (const Case& test : cases) {
    SCOPED_TRACE(test.name);
    const auto valid = Validate({Engine::kPe, {test.whole, End{}}}, context);
    ASSERT_TRUE(valid) << valid.error().text;
    EXPECT_EQ(Split(test.whole, 2).size(), 1U);
    const std::vector<float> want = Run(test.whole, nullptr);
    EXPECT_EQ(std::memcmp(Run(test.whole, &team).data(), want.data(), want.size() * sizeof(float)),
              0);
  }
}

}  // namespace
}  // namespace nrtd::sim
