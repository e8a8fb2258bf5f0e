// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/packed_matmul.h"

#include <algorithm>
#include <system_error>
#include <thread>

#include <fmt/format.h>

#include "driver_shim/sim/kernels/large_product.h"
#include "driver_shim/sim/kernels/operand_values.h"
#include "driver_shim/sim/kernels/packed_product.h"
#include "driver_shim/sim/kernels/packed_product_avx512.h"
#include "driver_shim/sim/kernels/small.h"
#include "driver_shim/sim/kernels/split.h"

namespace nrtd::sim {
namespace {

// Some 10 us of work a thread: far more than it takes to hand it over.
constexpr uint64_t kThreadMacs = 400'000;
// More rows are none of a network's; a program that asks for them gets the library, which needs no
// tables.
constexpr uint64_t kMostRows = uint64_t{1} << 24;

struct Part {
  int64_t first_row = 0, rows = 0;
  int64_t first_column = 0, columns = 0;
};

// Whole panels of columns if there are enough, otherwise rows.
std::vector<Part> CutProduct(int64_t rows, int64_t columns, int64_t panel, unsigned threads) {
  std::vector<Part> result;
  if (columns >= panel * static_cast<int64_t>(threads)) {
    for (const Range& range : Ranges(columns, threads, panel))
      result.push_back({0, rows, range.begin, range.count});
  } else {
    for (const Range& range : Ranges(rows, threads, 1))
      result.push_back({range.begin, range.count, 0, columns});
  }
  return result;
}

// Where the rows of a matrix begin.
std::vector<uint64_t> RowStarts(const Operand& matrix) {
  return StartsOf(matrix, std::span(matrix.dims).first(matrix.dims.size() - 1));
}

// Packing takes the time of a load, most of it for memory that nobody has touched yet. The core's
// own threads may be at work for another network meanwhile, so these are others.
template <typename Pack>
void AtOnce(const std::vector<Part>& parts, const Pack& pack) {
  std::vector<std::jthread> others;
  size_t alone = 1;  // the first part that nobody else has
  try {
    for (; alone < parts.size(); ++alone) others.emplace_back([&, alone] { pack(parts[alone]); });
  } catch (const std::system_error&) {
    // The system gives no more threads.
  }
  pack(parts[0]);
  for (; alone < parts.size(); ++alone) pack(parts[alone]);
}

class PackedMatMul final : public Kernel {
 public:
  PackedMatMul(const MatMul& matmul, const ProductForm& form, std::vector<Part> parts,
               const KernelContext& context)
      : form_(form),
        parts_(std::move(parts)),
        depth_(matmul.a.dims.back()),
        input_(context.resolve(matmul.a)),
        output_(context.resolve(matmul.c)),
        row_values_(RowStarts(matmul.a)),
        scratch_(context.scratch),
        team_(context.team) {
    row_words_ = (depth_ + 1) / 2;
    const sim::Run whole{0, row_words_};
    blocks_ = CutDepth({&whole, 1}, form);
    row_output_ = RowStarts(matmul.c);
    product_.blocks = blocks_;
    product_.clamp = ClampOf(matmul.fused).value_or(Clamp{});
    product_.gelu = matmul.fused && matmul.fused->function == Function::kGeluErf;
    for (size_t r = 0; r < row_values_.size(); ++r)
      row_input_.push_back(r * static_cast<uint64_t>(row_words_));
    scratch_->Reserve(row_values_.size() * static_cast<uint64_t>(row_words_) * sizeof(Word));
    Pack(matmul, context);
  }

  bool Run() override {
    product_.input = reinterpret_cast<const Word*>(scratch_->data());
    product_.output = output_;
    ForEachPart([this](size_t part) { RoundRows(part); });
    ForEachPart([this](size_t part) { Multiply(part); });
    return true;
  }

 private:
  template <typename Task>
  void ForEachPart(const Task& task) {
    if (parts_.size() == 1) return task(0);
    team_->Run([&](unsigned part) {
      if (part < parts_.size()) task(part);
    });
  }

  void RoundRows(size_t part) {
    auto* words = reinterpret_cast<Word*>(scratch_->data());
    const size_t rows = row_values_.size();
    for (size_t r = rows * part / parts_.size(); r < rows * (part + 1) / parts_.size(); ++r)
      RoundToPairs(input_ + row_values_[r], depth_, words + row_input_[r]);
  }

  void Multiply(size_t index) const {
    const Part& part = parts_[index];
    PackedProduct product = product_;
    const auto first = static_cast<size_t>(part.first_row);
    const auto rows = static_cast<size_t>(part.rows);
    product.row_input = std::span(row_input_).subspan(first, rows);
    product.row_output = std::span(row_output_).subspan(first, rows);
    product.output += part.first_column;
    product.columns = part.columns;
    // Parts of columns begin with a panel, so all in front of them are whole.
    product.weights = reinterpret_cast<const Word*>(weights_->data()) +
                      PackedWords(row_words_, part.first_column);
    product.bias = bias_.data() + part.first_column;
    form_.run(product);
  }

  void Pack(const MatMul& matmul, const KernelContext& context) {
    const Operand& b = matmul.b;
    const int64_t columns = b.dims.back();
    std::string form = fmt::format("packed/{}", form_.panel_columns);
    std::vector<Part> column_parts;
    for (const Part& part : parts_) {
      if (!column_parts.empty() && column_parts.back().first_column == part.first_column) continue;
      column_parts.push_back(part);
      form += fmt::format("/{}", part.columns);
    }
    weights_ = PackOnce(b, form, context, [&](const std::byte* data) {
      PackedWeights result(PackedWords(row_words_, columns) * sizeof(Word));
      const MatrixValues values(b, data);
      const auto pack = [&](const Part& part) {
        auto* to =
            reinterpret_cast<Word*>(result.data()) + PackedWords(row_words_, part.first_column);
        PackWords(
            form_, blocks_, part.columns,
            [&](int64_t word, int64_t column, int64_t count, Word* words) {
              values.CopyPairs(word, part.first_column + column, count, words);
            },
            to, context.stop);
      };
      AtOnce(column_parts, pack);
      return result;
    });
    bias_.assign(static_cast<size_t>(PackedColumns(columns)), 0.0F);
    if (!matmul.bias) return;
    const auto* from = reinterpret_cast<const float*>(ReadNow(*matmul.bias, context));
    const int64_t stride = matmul.bias->dims.back() == 1 ? 0 : matmul.bias->strides.back();
    for (int64_t c = 0; c < columns; ++c) bias_[static_cast<size_t>(c)] = from[c * stride];
  }

  const ProductForm& form_;
  const std::vector<Part> parts_;
  const int64_t depth_;
  const DataRef<const float> input_;
  const DataRef<float> output_;
  const std::vector<uint64_t> row_values_;  // where rows of the input begin
  int64_t row_words_;
  std::vector<uint64_t> row_input_, row_output_;
  std::vector<DepthBlock> blocks_;
  PackedProduct product_;
  std::shared_ptr<const PackedWeights> weights_;
  std::vector<float> bias_;
  Scratch* scratch_;
  ThreadTeam* team_;
};

bool IsKnown(const std::optional<Fused>& fused) {
  return ClampOf(fused) || fused->function == Function::kGeluErf;
}

}  // namespace

std::unique_ptr<Kernel> MakePackedMatMul(const MatMul& matmul, const KernelContext& context) {
  const Operand& a = matmul.a;
  const Operand& b = matmul.b;
  const Operand& c = matmul.c;
  const ProductForm* form = UsesBFloat16(matmul.precision) ? BFloat16Form() : nullptr;
  if (form == nullptr || MacCount(matmul) <= kSmallMatMulMacs || !context.constant(b.var_id) ||
      (matmul.bias && !context.constant(matmul.bias->var_id)) || !IsKnown(matmul.fused))
    return nullptr;
  if (!HasPlainRows(matmul)) return nullptr;
  const int64_t columns = c.dims.back();
  const uint64_t rows = ElementCount(c.dims).value_or(0) / static_cast<uint64_t>(columns);
  if (rows > kMostRows ||
      PacksTooMuch(b, PackedWords((a.dims.back() + 1) / 2, columns) * sizeof(Word)))
    return nullptr;
  const unsigned threads = context.team != nullptr ? context.team->size() : 1;
  const bool cut = MacCount(matmul) >= kThreadMacs * threads;
  return std::make_unique<PackedMatMul>(
      matmul, *form,
      CutProduct(static_cast<int64_t>(rows), columns, form->panel_columns, cut ? threads : 1),
      context);
}

}  // namespace nrtd::sim
