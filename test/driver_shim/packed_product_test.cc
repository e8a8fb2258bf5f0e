// SPDX-License-Identifier: Apache-2.0
//
// Every form of packed products that this CPU has, against scalar code.
#include "driver_shim/sim/kernels/packed_product.h"

#include <cmath>
#include <limits>
#include <random>
#include <stop_token>

#include <gtest/gtest.h>

#include "base/dtype.h"
#include "driver_shim/sim/kernels/kernel.h"

namespace nrtd::sim {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A product whose rows are two runs, overlap, and are written with a gap behind each.
struct Example {
  const ProductForm& form;
  int64_t rows, depth, columns;  // depth in words
  std::vector<float> values;     // of the input
  std::vector<float> weights;    // [depth in values][columns]
  std::vector<float> bias;
  std::vector<uint32_t> input, packed;
  std::vector<Run> runs;
  std::vector<DepthBlock> blocks;
  std::vector<uint64_t> row_input, row_output;
  std::vector<float> output;

  int64_t per_word() const { return form.pairs ? 2 : 1; }
  int64_t gap() const { return 3; }
  int64_t output_row() const { return columns + 2; }

  Example(const ProductForm& of, int64_t row_count, int64_t words, int64_t column_count)
      : form(of), rows(row_count), depth(words), columns(column_count) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    const int64_t first = depth / 3;
    if (first > 0) runs.push_back({0, first});
    runs.push_back({static_cast<uint64_t>(first + gap()), depth - first});
    blocks = CutDepth(runs, form);
    values.resize(static_cast<size_t>((depth + gap() + rows) * per_word()));
    for (float& value : values) value = Rounded(normal(random));
    weights.resize(static_cast<size_t>(depth * per_word() * columns));
    for (float& value : weights) value = Rounded(normal(random));
    bias.assign(static_cast<size_t>(PackedColumns(columns)), 0);
    for (int64_t c = 0; c < columns; ++c) bias[static_cast<size_t>(c)] = normal(random);
    for (size_t i = 0; i < values.size(); i += static_cast<size_t>(per_word()))
      input.push_back(form.pairs ? Pair(values[i], values[i + 1])
                                 : std::bit_cast<uint32_t>(values[i]));
    packed.resize(PackedWords(depth, columns));
    PackWords(
        form, blocks, columns,
        [&](int64_t k, int64_t column, int64_t count, Word* to) {
          for (int64_t c = 0; c < count; ++c)
            to[c] = form.pairs ? Pair(Weight(2 * k, column + c), Weight(2 * k + 1, column + c))
                               : std::bit_cast<uint32_t>(Weight(k, column + c));
        },
        packed.data());
    for (int64_t r = 0; r < rows; ++r) {
      row_input.push_back(static_cast<uint64_t>(r));
      row_output.push_back(static_cast<uint64_t>(r * output_row()));
    }
    output.assign(static_cast<size_t>(rows * output_row()), -77);
  }

  float Rounded(float value) const {
    return form.pairs ? BFloat16ToFloat(FloatToBFloat16(value)) : value;
  }
  static uint32_t Pair(float low, float high) {
    return FloatToBFloat16(low) | static_cast<uint32_t>(FloatToBFloat16(high)) << 16;
  }
  float Weight(int64_t k, int64_t column) const {
    return weights[static_cast<size_t>(k * columns + column)];
  }

  void Multiply(float least = -kInfinity, float most = kInfinity, bool gelu = false) {
    form.run({.input = input.data(),
              .output = output.data(),
              .row_input = row_input,
              .row_output = row_output,
              .blocks = blocks,
              .weights = packed.data(),
              .bias = bias.data(),
              .columns = columns,
              .clamp = {least, most},
              .gelu = gelu});
  }

  double Sum(int64_t row, int64_t column) const {
    double sum = bias[static_cast<size_t>(column)];
    int64_t k = 0;
    for (const Run& run : runs) {
      for (int64_t i = 0; i < run.length * per_word(); ++i, ++k) {
        const int64_t at = (row + static_cast<int64_t>(run.offset)) * per_word() + i;
        sum += double{values[static_cast<size_t>(at)]} * Weight(k, column);
      }
    }
    return sum;
  }

  template <typename Finish>
  void Expect(const Finish& finish) const {
    const double tolerance = 1e-5 * std::sqrt(static_cast<double>(depth * per_word()));
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < output_row(); ++c) {
        const float got = output[static_cast<size_t>(r * output_row() + c)];
        const double want = c < columns ? finish(Sum(r, c)) : -77;
        ASSERT_NEAR(got, want, tolerance) << "row " << r << " column " << c;
      }
    }
  }
};

class PackedProductTest : public ::testing::TestWithParam<const ProductForm*> {};

// Rows that fill no tile, columns that fill no panel and no register, more words than a block.
TEST_P(PackedProductTest, MultipliesEverySize) {
  const int64_t sizes[][3] = {{1, 1, 1},     {2, 3, 5},   {5, 17, 16},  {6, 16, 17}, {7, 33, 40},
                              {13, 9, 64},   {12, 5, 65}, {4, 900, 70}, {3, 4, 129}, {200, 11, 20},
                              {11, 400, 48}, {1, 7, 17},  {1, 900, 70}, {2, 901, 40}};
  for (const auto& [rows, depth, columns] : sizes) {
    SCOPED_TRACE(testing::Message() << rows << " x " << depth << " x " << columns);
    Example example(*GetParam(), rows, depth, columns);
    example.Multiply();
    example.Expect([](double sum) { return sum; });
    if (HasFatalFailure()) return;
  }
}

TEST_P(PackedProductTest, BringsSumsIntoARange) {
  Example example(*GetParam(), 8, 900, 50);
  example.Multiply(-1, 2);
  example.Expect([](double sum) { return std::clamp(sum, -1.0, 2.0); });
}

TEST_P(PackedProductTest, AppliesGeluToWholeSums) {
  Example spread(*GetParam(), 9, 6, 70);
  spread.Multiply(-kInfinity, kInfinity, true);
  spread.Expect([](double x) { return x / 2 * (1 + std::erf(x / std::sqrt(2.0))); });
  Example deep(*GetParam(), 8, 900, 50);
  deep.Multiply(-kInfinity, kInfinity, true);
  deep.Expect([](double x) { return x / 2 * (1 + std::erf(x / std::sqrt(2.0))); });
}

TEST_P(PackedProductTest, KeepsNaNThroughARange) {
  Example example(*GetParam(), 2, 4, 3);
  example.input[0] = 0x7fc07fc0U;  // NaN as a float32 and twice as a bfloat16
  example.Multiply(-1, 2);
  EXPECT_TRUE(std::isnan(example.output[0]));
  EXPECT_FALSE(std::isnan(example.output[static_cast<size_t>(example.output_row())]));
}

// A killed client's load went on until a whole matrix was packed.
TEST_P(PackedProductTest, PackingLeavesOffWhenNobodyWantsItAnyMore) {
  const ProductForm& form = *GetParam();
  const sim::Run whole{0, 4 * form.block_words};
  const std::vector<DepthBlock> blocks = CutDepth({&whole, 1}, form);
  const int64_t columns = 4 * form.panel_columns;
  std::vector<uint32_t> packed(PackedWords(whole.length, columns));
  std::stop_source gone;
  int64_t filled = 0;
  PackWords(
      form, blocks, columns,
      [&](int64_t, int64_t, int64_t, Word*) {
        ++filled;
        gone.request_stop();
      },
      packed.data(), gone.get_token());
  EXPECT_EQ(filled, blocks.front().depth);  // the first of 16 parts
}

INSTANTIATE_TEST_SUITE_P(Forms, PackedProductTest, ::testing::ValuesIn(ProductForms()),
                         [](const auto& form) { return std::string(form.param->name); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PackedProductTest);

}  // namespace
}  // namespace nrtd::sim
