// SPDX-License-Identifier: Apache-2.0
//
// Gather, comparisons, selection and integers against a few lines of scalar code that say what they
// mean.
#include <array>
#include <climits>
#include <cstring>
#include <functional>
#include <iterator>
#include <vector>

#include "driver_shim/sim/kernels/make_kernel.h"
#include "test/driver_shim/kernel_fixture.h"

namespace nrtd::sim {
namespace {

class TablesTest : public KernelTest {};

TEST_P(TablesTest, GathersRowsAndRefusesThoseThatAreNotThere) {
  const Operand table = Temp({2, 5, 3});
  const Operand out = Temp({2, 4, 3}, 1000);
  const Operand indices = DenseOperand(kVar, DType::kInt32, 2000, {4});
  const auto set = [&](std::vector<int32_t> rows) {
    std::memcpy(reinterpret_cast<std::byte*>(memory_.data()) + 2000, rows.data(), rows.size() * 4);
  };
  const std::vector<int32_t> rows{4, 0, -1, -5};
  set(rows);
  Run(Gather{table, indices, out});
  if (HasFatalFailure()) return;
  Expect(
      out,
      [&](const auto& index) {
        const int32_t row = rows[static_cast<size_t>(index[1])];
        return Value(table, {index[0], row < 0 ? row + 5 : row, index[2]});
      },
      0);
  for (int32_t wrong : {5, -6, INT32_MAX, INT32_MIN}) {
    set({0, wrong, 0, 0});
    Scratch scratch;
    const auto kernel = MakeKernel(Gather{table, indices, out}, Context(&scratch));
    ASSERT_TRUE(kernel);
    EXPECT_FALSE((*kernel)->Run()) << wrong;
  }
}

// Copying such a row was undefined.
TEST_P(TablesTest, AGatheredRowMayOverlapTheOneThatItIsOf) {
  const Operand table = Temp({1, 4, 50});
  const Operand out = Temp({1, 1, 50}, 49);
  const Operand index = DenseOperand(kVar, DType::kInt32, 2000, {1});
  const int32_t row = 1;
  std::memcpy(reinterpret_cast<std::byte*>(memory_.data()) + 2000, &row, sizeof(row));
  const std::vector<float> wanted(memory_.begin() + 50, memory_.begin() + 100);
  Scratch scratch;
  const auto kernel = MakeKernel(Gather{table, index, out}, Context(&scratch));
  ASSERT_TRUE(kernel);
  ASSERT_TRUE((*kernel)->Run());
  Expect(
      out, [&](const auto& i) { return wanted[static_cast<size_t>(i[2])]; }, 0);
}

TEST_P(TablesTest, ComparesAndSelects) {
  const Operand a = Temp({3, 4});
  const Operand b = Temp({3, 4}, 100);
  memory_[100] = memory_[0];
  const Operand condition = DenseOperand(kVar, DType::kBool, 2000, {3, 4});
  const Operand out = Temp({3, 4}, 1000);
  const std::function<bool(float, float)> want[] = {[](float x, float y) { return x == y; },
                                                    [](float x, float y) { return x < y; },
                                                    [](float x, float y) { return x <= y; }};
  static_assert(std::size(want) == kComparisons);
  for (uint8_t c = 0; c < kComparisons; ++c) {
    Run(Compare{a, b, condition, static_cast<Comparison>(c)});
    Run(Select{condition, a, b, out});
    if (HasFatalFailure()) return;
    Expect(
        out,
        [&](const auto& index) {
          const float x = Value(a, index);
          const float y = Value(b, index);
          return want[c](x, y) ? x : y;
        },
        0);
  }
}

TEST_P(TablesTest, CombinesIntegersWithoutOverflow) {
  const auto at = [](uint64_t offset) { return DenseOperand(kVar, DType::kInt64, offset, {3}); };
  const auto values = [this](uint64_t offset) {
    return reinterpret_cast<int64_t*>(reinterpret_cast<std::byte*>(memory_.data()) + offset);
  };
  const auto run = [&](BinaryFunction function, std::array<int64_t, 3> a,
                       std::array<int64_t, 3> b) {
    std::copy(a.begin(), a.end(), values(0));
    std::copy(b.begin(), b.end(), values(80));
    Run(Binary{at(0), at(80), at(160), function});
    return std::vector<int64_t>(values(160), values(160) + 3);
  };
  using Vector = std::vector<int64_t>;
  EXPECT_EQ(run(BinaryFunction::kAdd, {1, INT64_MAX, -3}, {2, 1, 3}), (Vector{3, INT64_MIN, 0}));
  EXPECT_EQ(run(BinaryFunction::kDivide, {7, INT64_MIN, 5}, {-2, -1, 0}),
            (Vector{-3, INT64_MIN, 0}));
  EXPECT_EQ(run(BinaryFunction::kPower, {2, -3, 0}, {10, 3, 0}), (Vector{1024, -27, 1}));
  EXPECT_EQ(run(BinaryFunction::kMaximum, {1, -2, 3}, {0, 5, 3}), (Vector{1, 5, 3}));
}

INSTANTIATE_TEST_SUITE_P(Kernels, TablesTest, kAllKernels, NameOf);

}  // namespace
}  // namespace nrtd::sim
