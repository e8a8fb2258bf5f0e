// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/isa.h"

#include <functional>
#include <random>
#include <stop_token>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/base/thread_cpu_time.h"

namespace nrtd::sim {
namespace {

using ::testing::HasSubstr;

constexpr uint32_t kWeights = 1;
constexpr uint32_t kTemporary = 2;
constexpr uint32_t kHostInput = 3;

ProgramContext Context() {
  ProgramContext context;
  context.variables = {{kWeights, 4096, true, false},
                       {kTemporary, 65536, true, true},
                       {kHostInput, 4096, false, false}};
  context.dma_ids[static_cast<size_t>(Engine::kPool)] = {0, 1};
  return context;
}

Operand Temp(std::vector<int64_t> dims, uint64_t offset = 0) {
  return DenseOperand(kTemporary, DType::kFloat32, offset, std::move(dims));
}

Conv2d GoodConv() {
  Conv2d conv;
  conv.input = Temp({1, 2, 8, 8});
  conv.weights = DenseOperand(kWeights, DType::kBFloat16, 0, {4, 2, 3, 3});
  conv.bias = DenseOperand(kWeights, DType::kFloat32, 1024, {4});
  conv.output = Temp({1, 4, 8, 8}, 4096);
  conv.pads = {1, 1, 1, 1};
  conv.precision = Precision::kBFloat16;
  return conv;
}

std::vector<Stream> OneOfEverything() {
  MatMul matmul;
  matmul.a = Temp({2, 3, 4});
  matmul.b = Temp({1, 4, 5}, 1024);
  matmul.c = Temp({2, 3, 5}, 2048);
  MatMul fused = matmul;
  fused.fused = Fused{Function::kGeluErf, 0, 0};
  return {
      {Engine::kPe, {SemaphoreWait{0, 1}, GoodConv(), matmul, fused, SemaphoreSignal{1}, End{}}},
      {Engine::kAct,
       {Notify{42}, Activation{Temp({7}), Temp({7}), Function::kClip, -1.5F, 2.5F},
        Softmax{Temp({2, 3}), Temp({2, 3}), 1},
        Softmax{Temp({2, 3}), Temp({2, 3}), 1, 0.125F, Temp({1, 3}, 64)},
        LayerNorm{Temp({2, 3}), Temp({3}, 64), std::nullopt, Temp({2, 3}), 1e-5F}, End{}}},
      {Engine::kPool,
       {DmaTrigger{1},
        Pool2d{Temp({1, 1, 4, 4}), Temp({1, 1, 2, 2}, 256), PoolKind::kMax, {2, 2}, {2, 2}},
        Binary{Temp({2, 3}), Temp({1, 3}, 64), Temp({2, 3}, 128), BinaryFunction::kMultiply},
        Binary{Temp({2, 3}), Temp({1, 3}, 64), Temp({2, 3}, 128), BinaryFunction::kAdd,
               Fused{Function::kClip, 0, 6}},
        Copy{Temp({4, 2}), Temp({4, 2}, 512)},
        Gather{Temp({1, 9, 2}), DenseOperand(kTemporary, DType::kInt64, 2048, {4}),
               Temp({1, 4, 2}, 1024)},
        Reduce{Temp({2, 3}), Temp({2, 1}, 64), Reduction::kMaximum},
        Compare{Temp({2, 3}), Temp({2, 3}), DenseOperand(kTemporary, DType::kBool, 64, {2, 3}),
                Comparison::kLess},
        Select{DenseOperand(kTemporary, DType::kBool, 64, {2, 3}), Temp({2, 3}), Temp({2, 3}),
               Temp({2, 3}, 128)},
        End{}}},
  };
}

TEST(IsaTest, EveryInstructionSurvivesEncodingAndDecoding) {
  for (const Stream& stream : OneOfEverything()) {
    const auto decoded = DecodeStream(EncodeStream(stream));
    ASSERT_TRUE(decoded) << decoded.error().text;
    EXPECT_EQ(*decoded, stream);
    const auto valid = Validate(stream, Context());
    EXPECT_TRUE(valid) << valid.error().text;
  }
}

TEST(IsaTest, AStreamCutAnywhereIsRefused) {
  for (const Stream& stream : OneOfEverything()) {
    const ByteVector bytes = EncodeStream(stream);
    for (size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_FALSE(DecodeStream(ByteSpan(bytes).first(size))) << size;
    }
  }
}

TEST(IsaTest, FlippedBytesAreRefusedOrDecodeToSomethingThatEncodesAgain) {
  std::mt19937 random(7);
  for (const Stream& stream : OneOfEverything()) {
    const ByteVector bytes = EncodeStream(stream);
    for (int i = 0; i < 2000; ++i) {
      ByteVector damaged = bytes;
      damaged[random() % damaged.size()] ^= static_cast<std::byte>(1U << (random() % 8));
      const auto decoded = DecodeStream(damaged);
      if (!decoded) continue;
      (void)Validate(*decoded, Context());
      EXPECT_TRUE(DecodeStream(EncodeStream(*decoded)));
    }
  }
}

TEST(IsaTest, TheHeaderIsChecked) {
  struct Case {
    size_t offset;
    uint8_t value;
    Nerr code;
    const char* text;
  };
  const Case cases[] = {
      {0, 'X', Nerr::kInvalid, "magic"},
      {4, 9, Nerr::kUnsupportedVersion, "version 9.1"},
      {6, 7, Nerr::kUnsupportedVersion, "version 1.7"},
      {8, 3, Nerr::kInvalid, "unknown engine 3"},
      {12, 0, Nerr::kInvalid, "0 instructions"},
      {12, 9, Nerr::kInvalid, "End must be the last"},
      {16, 99, Nerr::kInvalid, "unknown opcode 99"},
      {16, static_cast<uint8_t>(Opcode::kSoftmax), Nerr::kInvalid,
       "Softmax does not run on engine pe"},
      {20, 3, Nerr::kInvalid, "size 3"},
  };
  for (const Case& c : cases) {
    ByteVector bytes = EncodeStream({Engine::kPe, {SemaphoreSignal{1}, End{}}});
    bytes[c.offset] = static_cast<std::byte>(c.value);
    const auto decoded = DecodeStream(bytes);
    ASSERT_FALSE(decoded) << c.text;
    EXPECT_EQ(decoded.error().code, c.code) << c.text;
    EXPECT_THAT(decoded.error().text, HasSubstr(c.text));
  }
}

// A stream of 1.0 has the fields of 1.0, and none of the later instructions.
TEST(IsaTest, StreamsOfVersion10AreRead) {
  const Softmax softmax{Temp({2, 3}), Temp({2, 3}), 1};
  ByteVector bytes = EncodeStream({Engine::kAct, {softmax, End{}}});
  StoreAt(MutableByteSpan(bytes), 6, uint16_t{0});
  EXPECT_FALSE(DecodeStream(bytes));
  // Scale (4 bytes) and the mask's presence (1 byte) are what 1.1 has added, with their padding.
  const size_t size = LoadAt<uint32_t>(bytes, 16 + 4);
  const size_t fields = 2 * (14 + 16 * 2) + 8;
  const size_t padded = (8 + fields + 7) / 8 * 8;
  ASSERT_LT(padded, size);
  bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(16 + padded),
              bytes.begin() + static_cast<std::ptrdiff_t>(16 + size));
  StoreAt(MutableByteSpan(bytes), 16 + 4, static_cast<uint32_t>(padded));
  const auto decoded = DecodeStream(bytes);
  ASSERT_TRUE(decoded) << decoded.error().text;
  EXPECT_EQ(decoded->instructions[0], Instruction(softmax));

  ByteVector later = EncodeStream(
      {Engine::kPool, {Reduce{Temp({2, 3}), Temp({2, 1}, 64), Reduction::kSum}, End{}}});
  EXPECT_TRUE(DecodeStream(later));
  StoreAt(MutableByteSpan(later), 6, uint16_t{0});
  const auto refused = DecodeStream(later);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text, HasSubstr("unknown opcode 52"));
}

// Each case damages one thing of a good instruction.
struct BadCase {
  const char* text;
  std::function<Instruction()> make;
};

template <typename I>
BadCase Damage(const char* text, I good, std::function<void(I&)> damage) {
  return {text, [good, damage]() mutable {
            damage(good);
            return Instruction(good);
          }};
}

TEST(IsaTest, WhatDoesNotFitItsSurroundingsIsRefusedWithTheReason) {
  MatMul matmul;
  matmul.a = Temp({2, 3, 4});
  matmul.b = Temp({1, 4, 5}, 1024);
  matmul.c = Temp({2, 3, 5}, 2048);
  const Activation relu{Temp({16}), Temp({16})};
  const Copy copy{Temp({16}), Temp({16}, 64)};
  const Binary add{Temp({2, 3}), Temp({1, 3}, 64), Temp({2, 3}, 128)};
  const Pool2d pool{Temp({1, 1, 4, 4}), Temp({1, 1, 2, 2}, 256), PoolKind::kMax, {2, 2}, {2, 2}};
  const BadCase cases[] = {
      {"semaphore 32",
       [] {
         return SemaphoreWait{32, 1};
       }},
      {"DMA id 7", [] { return DmaTrigger{7}; }},
      Damage<Activation>("unknown variable 77", relu, [](auto& i) { i.input.var_id = 77; }),
      Damage<Activation>("only DMA may touch", relu, [](auto& i) { i.input.var_id = kHostInput; }),
      Damage<Activation>("read-only", relu, [](auto& i) { i.output.var_id = kWeights; }),
      Damage<Activation>("must be 4 byte aligned", relu, [](auto& i) { i.input.offset = 2; }),
      Damage<Activation>("needs bytes 65536", relu, [](auto& i) { i.input.offset = 65536; }),
      Damage<Activation>("needs bytes", relu, [](auto& i) { i.input.offset = ~uint64_t{0} - 3; }),
      Damage<Activation>("dimension 0", relu, [](auto& i) { i.input.dims = i.output.dims = {0}; }),
      Damage<Activation>("stride -1", relu, [](auto& i) { i.input.strides = {-1}; }),
      Damage<Activation>("spans more", relu,
                         [](auto& i) {
                           i.input.dims = i.output.dims = {1 << 30};
                           i.input.strides = {1 << 30};
                         }),
      Damage<Activation>("expected float32", relu, [](auto& i) { i.input.dtype = DType::kInt32; }),
      Damage<Activation>("does not fit", relu, [](auto& i) { i.input.dims = {15}; }),
      Damage<Activation>("overlaps itself", relu, [](auto& i) { i.output.strides = {0}; }),
      Damage<Conv2d>("groups", GoodConv(), [](auto& i) { i.groups = 3; }),
      Damage<Conv2d>("groups", GoodConv(), [](auto& i) { i.groups = 0; }),
      Damage<Conv2d>("does not give", GoodConv(),
                     [](auto& i) {
                       i.pads = {0, 0, 0, 0};
                     }),
      Damage<Conv2d>("stride 0", GoodConv(), [](auto& i) { i.strides[0] = 0; }),
      Damage<Conv2d>("dilation -2", GoodConv(), [](auto& i) { i.dilations[1] = -2; }),
      Damage<Conv2d>("pad -1", GoodConv(), [](auto& i) { i.pads[3] = -1; }),
      Damage<Conv2d>("rank 3", GoodConv(),
                     [](auto& i) {
                       i.input = Temp({2, 8, 8});
                     }),
      Damage<Conv2d>("bias", GoodConv(), [](auto& i) { i.bias->dims = {3}; }),
      Damage<Conv2d>("bfloat16 in a file variable", GoodConv(),
                     [](auto& i) { i.weights.var_id = kTemporary; }),
      Damage<MatMul>("does not fit", matmul,
                     [](auto& i) {
                       i.b = Temp({1, 3, 5}, 1024);
                     }),
      Damage<MatMul>("does not fit", matmul,
                     [](auto& i) {
                       i.a = Temp({3, 3, 4});
                     }),
      Damage<MatMul>("rank 1", matmul, [](auto& i) { i.c = Temp({5}); }),
      Damage<Pool2d>("does not give", pool,
                     [](auto& i) {
                       i.kernel = {3, 3};
                     }),
      Damage<Pool2d>("without an element", pool,
                     [](auto& i) {
                       i.pads = {2, 0, 0, 0};
                     }),
      Damage<Binary>("does not fit", add,
                     [](auto& i) {
                       i.b = Temp({2, 2}, 64);
                     }),
      Damage<Binary>("does not fit", add,
                     [](auto& i) {
                       i.a = Temp({1, 3});
                     }),
      Damage<Copy>("cannot cast", copy, [](auto& i) { i.input.dtype = DType::kUInt32; }),
      {"indices is float32",
       [] { return Gather{Temp({1, 4, 2}), Temp({3}), Temp({1, 3, 2}, 64)}; }},
      {"does not fit",
       [] {
         return Gather{Temp({1, 4, 2}), DenseOperand(kTemporary, DType::kInt32, 256, {3}),
                       Temp({1, 4, 2}, 64)};
       }},
      {"does not fit", [] { return Reduce{Temp({4, 2}), Temp({2, 2}, 64), Reduction::kSum}; }},
      {"does not fit",
       [] { return LayerNorm{Temp({4, 2}), Temp({3}), std::nullopt, Temp({4, 2}, 64), 0}; }},
      {"condition is float32",
       [] { return Select{Temp({2}), Temp({2}), Temp({2}), Temp({2}, 64)}; }},
      {"b is int32",
       [] {
         return Compare{Temp({2}), DenseOperand(kTemporary, DType::kInt32, 0, {2}),
                        DenseOperand(kTemporary, DType::kBool, 64, {2}), Comparison::kEqual};
       }},
      {"mask",
       [] { return Softmax{Temp({2, 3}), Temp({2, 3}), 1, 1, Temp({2, 2}, 64)}; }},
      {"axis 2", [] { return Softmax{Temp({2, 3}), Temp({2, 3}), 2}; }},
      {"axis -1", [] { return Softmax{Temp({2, 3}), Temp({2, 3}), -1}; }},
  };
  for (const BadCase& c : cases) {
    const Instruction instruction = c.make();
    const auto opcode = OpcodeOf(instruction);
    for (Engine engine : {Engine::kPe, Engine::kAct, Engine::kPool}) {
      if (!RunsOn(opcode, engine)) continue;
      const auto valid = Validate({engine, {instruction, End{}}}, Context());
      ASSERT_FALSE(valid) << c.text;
      EXPECT_EQ(valid.error().code, Nerr::kInvalid);
      EXPECT_THAT(valid.error().text, HasSubstr(c.text));
      EXPECT_THAT(valid.error().text, HasSubstr("instruction 0"));
    }
  }
}

// A pooling once was not counted at all, and an execution is not interrupted within one.
TEST(IsaTest, APoolingThatTakesForeverIsRefused) {
  Pool2d pool{Temp({1, 1, 33'791, 33'791}),
              Temp({1, 1, 1024, 1024}),
              PoolKind::kMax,
              {32'768, 32'768},
              {1, 1}};
  pool.input.strides = {0, 0, 0, 0};
  ProgramContext context = Context();
  for (VariableInfo& variable : context.variables)
    if (variable.writable) variable.size = uint64_t{1} << 23;
  const auto refused = Validate({Engine::kPool, {pool, End{}}}, context);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text, HasSubstr("1125899906842624"));
  EXPECT_EQ(WorkOf(pool), uint64_t{1} << 50);
  EXPECT_EQ(MacCount(pool), 0U);
  pool = {Temp({1, 1, 1026, 1026}), Temp({1, 1, 1024, 1024}), PoolKind::kMax, {3, 3}, {1, 1}};
  const auto valid = Validate({Engine::kPool, {pool, End{}}}, context);
  EXPECT_TRUE(valid) << valid.error().text;
}

TEST(IsaTest, APoolingWindowBehindTheInputIsRefused) {
  // Windows at -1, 4 and 9, of an input that ends at 9.
  Pool2d pool{Temp({1, 1, 9, 9}), Temp({1, 1, 3, 3}, 1024), PoolKind::kMax, {2, 2}, {5, 5}};
  pool.pads = {1, 1, 2, 2};
  const auto refused = Validate({Engine::kPool, {pool, End{}}}, Context());
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text, HasSubstr("without an element"));
  pool.input = Temp({1, 1, 10, 10});
  pool.pads = {1, 1, 1, 1};
  const auto valid = Validate({Engine::kPool, {pool, End{}}}, Context());
  EXPECT_TRUE(valid) << valid.error().text;
}

// As many copies as variables, between the last of them.
Stream CopiesOfTheLast(uint32_t variables) {
  Stream stream{Engine::kPool, {}};
  for (uint32_t i = 0; i < variables; ++i) {
    const Operand last = DenseOperand(variables - 1 - i % 8, DType::kFloat32, 0, {1});
    stream.instructions.emplace_back(Copy{last, last});
  }
  stream.instructions.emplace_back(End{});
  return stream;
}

// Each operand once was looked for among all variables: ten times as many took a hundred times as
// long.
TEST(IsaTest, ManyVariablesTakeNoLongerEachThanFew) {
  const auto time_of = [](uint32_t variables) {
    ProgramContext context;
    for (uint32_t i = 0; i < variables; ++i) context.variables.push_back({i, 64, true, true});
    const Stream stream = CopiesOfTheLast(variables);
    const auto begin = ThreadCpuTime();
    EXPECT_TRUE(Validate(stream, context));
    return ThreadCpuTime() - begin;
  };
  EXPECT_LT(time_of(60'000), 40 * time_of(6'000));
}

TEST(IsaTest, ValidationEndsWhenNobodyWantsItAnyMore) {
  ProgramContext context;
  for (uint32_t i = 0; i < 1'000; ++i) context.variables.push_back({i, 64, true, true});
  std::stop_source gone;
  gone.request_stop();
  const auto refused = Validate(CopiesOfTheLast(1'000), context, gone.get_token());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kInvalidHandle);
}

TEST(IsaTest, CountsMultiplyAccumulates) {
  EXPECT_EQ(MacCount(GoodConv()), 4U * 8 * 8 * 2 * 3 * 3);
  MatMul matmul;
  matmul.a = Temp({2, 3, 4});
  matmul.c = Temp({2, 3, 5});
  EXPECT_EQ(MacCount(matmul), 2U * 3 * 5 * 4);
  EXPECT_EQ(MacCount(End{}), 0U);
}

}  // namespace
}  // namespace nrtd::sim
