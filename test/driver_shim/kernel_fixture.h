// SPDX-License-Identifier: Apache-2.0
//
// Runs one tensor instruction on a small memory of random values, for tests of what it means.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/sanitized.h"
#include "driver_shim/sim/kernels/make_kernel.h"

namespace nrtd::sim {

inline constexpr uint32_t kVar = 1;
inline constexpr uint32_t kConst = 2;

// Where an element of a tensor is. No vector: a test makes millions of them, and memory for each
// would take most of its time under a sanitizer.
class Index {
 public:
  explicit Index(size_t rank) : rank_(rank) {}
  Index(std::initializer_list<int64_t> values) : rank_(values.size()) {
    std::copy(values.begin(), values.end(), values_);
  }
  int64_t& operator[](size_t d) { return values_[d]; }
  int64_t operator[](size_t d) const { return values_[d]; }
  int64_t& back() { return values_[rank_ - 1]; }
  [[nodiscard]] int64_t back() const { return values_[rank_ - 1]; }
  [[nodiscard]] size_t size() const { return rank_; }
  [[nodiscard]] std::string Text() const { return ShapeText({values_, values_ + rank_}); }

 private:
  size_t rank_;
  int64_t values_[kMaxRank] = {};
};

// Walks all index tuples of `dims`.
inline void ForEach(const std::vector<int64_t>& dims,
                    const std::function<void(const Index&)>& visit) {
  Index index(dims.size());
  while (true) {
    visit(index);
    size_t d = dims.size();
    while (d > 0 && ++index[d - 1] == dims[d - 1]) index[--d] = 0;
    if (d == 0) return;
  }
}

// Which kernels: ours where they are better, the library's alone, or either in as many pieces as
// possible.
enum class Kernels { kOwn, kLibrary, kPieces };
inline const auto kAllKernels =
    ::testing::Values(Kernels::kOwn, Kernels::kLibrary, Kernels::kPieces);
inline std::string NameOf(const ::testing::TestParamInfo<Kernels>& test) {
  return test.param == Kernels::kOwn       ? "Own"
         : test.param == Kernels::kLibrary ? "Library"
                                           : "Pieces";
}

class KernelTest : public ::testing::TestWithParam<Kernels> {
 protected:
  KernelTest() : memory_(1 << 16), constants_(1 << 15) {
    UseOneThread();
    std::mt19937 random(42);
    std::normal_distribution<float> normal;
    for (float& value : memory_) value = normal(random);
    for (float& value : constants_) value = normal(random);
  }

  // What takes minutes in so many pieces under a sanitizer; small instructions show the same.
  static bool TakesTooLong() { return kSanitized && GetParam() == Kernels::kPieces; }

  static size_t At(const Operand& operand, const Index& index) {
    const int64_t* strides = operand.strides.data();
    int64_t at = static_cast<int64_t>(operand.offset / sizeof(float));
    for (size_t d = 0; d < index.size(); ++d) at += index[d] * strides[d];
    return static_cast<size_t>(at);
  }
  float& Value(const Operand& operand, const Index& index) {
    return (operand.var_id == kConst ? constants_ : memory_)[At(operand, index)];
  }
  // As above, with dimensions of 1 repeated.
  float Repeated(const Operand& operand, Index index) {
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
            .own_kernels = GetParam() != Kernels::kLibrary,
            .piece_ns = GetParam() == Kernels::kPieces ? 1 : kPieceNs};
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

  std::unique_ptr<Kernel> MakeSoftmaxKernel(const Softmax& softmax) {
    auto kernel = MakeKernel(softmax, Context(&softmax_scratch_));
    return kernel ? std::move(*kernel) : nullptr;
  }

  void Expect(const Operand& output, const std::function<double(const Index&)>& want,
              double tolerance) {
    std::vector<double> expected;
    ForEach(output.dims, [&](const auto& index) { expected.push_back(want(index)); });
    size_t i = 0;
    size_t wrong = 0;
    ForEach(output.dims, [&](const auto& index) {
      const double got = Value(output, index);
      const double right = expected[i++];
      if (!(std::abs(got - right) <= tolerance * (1 + std::abs(right))) && ++wrong == 1)
        ADD_FAILURE() << index.Text() << " is " << got << ", expected " << right;
    });
    ASSERT_EQ(wrong, 0U);
  }

  void CheckConv(const Conv2d& conv) {
    const std::vector<float> before = memory_;
    Run(conv);
    if (HasFatalFailure()) return;
    // Errors of as many float32 additions, which go in either direction.
    const auto depth =
        static_cast<double>(conv.weights.dims[1] * conv.weights.dims[2] * conv.weights.dims[3]);
    const double tolerance = std::max(1e-5, 2e-6 * std::sqrt(depth));
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
          if (!conv.fused) return sum;
          if (conv.fused->function == Function::kRelu) return std::max(sum, 0.0);
          return std::clamp<double>(sum, conv.fused->alpha, conv.fused->beta);
        },
        tolerance);
  }

  static Operand Temp(std::vector<int64_t> dims, uint64_t element = 0) {
    return DenseOperand(kVar, DType::kFloat32, element * 4, std::move(dims));
  }
  static Operand Const(std::vector<int64_t> dims, uint64_t element = 0) {
    return DenseOperand(kConst, DType::kFloat32, element * 4, std::move(dims));
  }

  Scratch softmax_scratch_;
  WeightCache weights_;
  std::vector<float> memory_;
  std::vector<float> constants_;
};

}  // namespace nrtd::sim
