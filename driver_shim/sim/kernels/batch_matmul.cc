// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/batch_matmul.h"

#include <algorithm>
#include <span>

#include "base/sizes.h"
#include "driver_shim/sim/kernels/operand_values.h"
#include "driver_shim/sim/kernels/packed_product.h"
#include "driver_shim/sim/kernels/packed_product_avx512.h"
#include "driver_shim/sim/kernels/small.h"

namespace nrtd::sim {
namespace {

// Fewer rows do not pay for packing the other matrix.
constexpr int64_t kLeastRows = 16;
// More are none of a network's; a program that asks for them gets the library, which needs no
// tables.
constexpr uint64_t kMostBatches = uint64_t{1} << 16;
constexpr int64_t kMostRows = int64_t{1} << 16;
// Of a batch's packed matrices. Larger ones are not in a cache when they are multiplied.
constexpr uint64_t kMostPacked = 64 * kMiB;

// Where an operand's matrices begin, as often as those of the product.
std::vector<uint64_t> BatchStarts(const Operand& operand, const MatMul& matmul) {
  const std::vector<int64_t>& dims = matmul.c.dims;
  return StartsOf(operand, std::span(dims).first(dims.size() - 2));
}

int64_t RowStride(const Operand& matrix) {
  return matrix.strides[matrix.strides.size() - 2];
}
bool HasWholeRows(const Operand& matrix) {
  return matrix.strides.back() == 1;
}
bool HasWholeColumns(const Operand& matrix) {
  return RowStride(matrix) == 1;
}

class BatchMatMul final : public Kernel {
 public:
  BatchMatMul(const MatMul& matmul, const ProductForm& form, const KernelContext& context)
      : form_(form),
        a_(matmul.a),
        b_(matmul.b),
        depth_(matmul.a.dims.back()),
        row_words_((depth_ + 1) / 2),
        a_data_(context.resolve(matmul.a)),
        b_data_(context.resolve(matmul.b)),
        c_data_(context.resolve(matmul.c)),
        a_starts_(BatchStarts(matmul.a, matmul)),
        b_starts_(BatchStarts(matmul.b, matmul)),
        c_starts_(BatchStarts(matmul.c, matmul)),
        scratch_(context.scratch) {
    const int64_t rows = matmul.c.dims[matmul.c.dims.size() - 2];
    for (int64_t r = 0; r < rows; ++r) {
      row_input_.push_back(static_cast<uint64_t>(r * row_words_));
      row_output_.push_back(static_cast<uint64_t>(r * RowStride(matmul.c)));
    }
    const sim::Run whole{0, row_words_};
    blocks_ = CutDepth({&whole, 1}, form);
    product_.row_input = row_input_;
    product_.row_output = row_output_;
    product_.blocks = blocks_;
    product_.columns = matmul.c.dims.back();
    bias_.assign(static_cast<size_t>(PackedColumns(product_.columns)), 0.0F);
    product_.bias = bias_.data();
    a_words_ = static_cast<uint64_t>(rows * row_words_);
    scratch_->Reserve((a_words_ + PackedWords(row_words_, product_.columns)) * sizeof(Word));
  }

  bool Run() override {
    auto* words = reinterpret_cast<Word*>(scratch_->data());
    product_.input = words;
    product_.weights = words + a_words_;
    for (size_t i = 0; i < c_starts_.size(); ++i) {
      // Heads that share a matrix find it packed.
      if (i == 0 || a_starts_[i] != a_starts_[i - 1]) PackA(a_data_ + a_starts_[i], words);
      if (i == 0 || b_starts_[i] != b_starts_[i - 1])
        PackB(b_data_ + b_starts_[i], words + a_words_);
      product_.output = c_data_ + c_starts_[i];
      form_.run(product_);
    }
    return true;
  }

 private:
  void PackA(const float* from, Word* to) const {
    for (size_t r = 0; r < row_input_.size(); ++r)
      RoundToPairs(from + static_cast<int64_t>(r) * RowStride(a_), depth_, to + row_input_[r]);
  }

  void PackB(const float* from, Word* to) const {
    const int64_t row_stride = RowStride(b_);
    const int64_t column_stride = b_.strides.back();
    ForEachPackedPart(
        form_, blocks_, product_.columns, to, [&](const PackedPart& part, Word* words) {
          const int64_t first = 2 * part.first;
          const int64_t depth = std::min(2 * part.depth, depth_ - first);
          const float* values = from + first * row_stride + part.column * column_stride;
          if (HasWholeRows(b_)) {
            PackPairsOfRows(values, row_stride, depth, part.count, part.width, words);
          } else {
            PackPairsOfColumns(values, column_stride, depth, part.count, part.width, words);
          }
        });
  }

  const ProductForm& form_;
  const Operand a_, b_;
  const int64_t depth_, row_words_;
  const DataRef<const float> a_data_, b_data_;
  const DataRef<float> c_data_;
  const std::vector<uint64_t> a_starts_, b_starts_, c_starts_;
  std::vector<uint64_t> row_input_, row_output_;
  std::vector<DepthBlock> blocks_;
  std::vector<float> bias_;
  uint64_t a_words_ = 0;
  PackedProduct product_;
  Scratch* scratch_;
};

}  // namespace

std::unique_ptr<Kernel> MakeBatchMatMul(const MatMul& matmul, const KernelContext& context) {
  const Operand& a = matmul.a;
  const Operand& b = matmul.b;
  const Operand& c = matmul.c;
  const ProductForm* form = UsesBFloat16(matmul.precision) ? BFloat16Form() : nullptr;
  if (form == nullptr || matmul.bias || b.dtype != DType::kFloat32 || context.constant(b.var_id))
    return nullptr;
  if (!HasWholeRows(a) || !HasWholeRows(c) || (!HasWholeRows(b) && !HasWholeColumns(b)))
    return nullptr;
  const int64_t rows = c.dims[c.dims.size() - 2];
  const int64_t words = (a.dims.back() + 1) / 2;
  const uint64_t macs = MacCount(matmul);
  const uint64_t batches = macs / static_cast<uint64_t>(rows * c.dims.back() * a.dims.back());
  const uint64_t packed = static_cast<uint64_t>(rows * words) + PackedWords(words, c.dims.back());
  if (rows < kLeastRows || rows > kMostRows || macs <= kSmallMatMulMacs || batches > kMostBatches ||
      packed > kMostPacked / sizeof(Word))
    return nullptr;
  return std::make_unique<BatchMatMul>(matmul, *form, context);
}

}  // namespace nrtd::sim
