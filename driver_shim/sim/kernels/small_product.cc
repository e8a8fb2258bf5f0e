// SPDX-License-Identifier: Apache-2.0
//
// Small convolutions and matrix products with constant weights, both as one thing: see
// product_block.h.
#include <algorithm>
#include <cstring>

#include "driver_shim/sim/kernels/large_product.h"
#include "driver_shim/sim/kernels/operand_values.h"
#include "driver_shim/sim/kernels/product_block.h"
#include "driver_shim/sim/kernels/small.h"

namespace nrtd::sim {
namespace {

// Brings the input into the form that the product reads: padded with zeros, rounded.
struct Staging {
  DataRef<const float> source;
  std::vector<int64_t> dims;     // [N][C][H][W]
  std::vector<int64_t> strides;  // of the source
  int64_t top = 0, left = 0;
  int64_t height = 0, width = 0;  // with the padding
  bool round = false;

  // Nothing when that is more than 64 bits: an input may be repeated with stride 0 as often as it
  // likes.
  std::optional<uint64_t> elements() const {
    return ElementCount(Shape{dims[0], dims[1], height, width});
  }

  void Fill(float* to) const {
    std::memset(to, 0, elements().value() * sizeof(float));
    for (int64_t n = 0; n < dims[0]; ++n) {
      for (int64_t c = 0; c < dims[1]; ++c) {
        for (int64_t y = 0; y < dims[2]; ++y) {
          const float* from = source + n * strides[0] + c * strides[1] + y * strides[2];
          float* row = to + ((n * dims[1] + c) * height + y + top) * width + left;
          for (int64_t x = 0; x < dims[3]; ++x) row[x] = from[x * strides[3]];
          if (round) RoundRun(row, row, static_cast<uint64_t>(dims[3]));
        }
      }
    }
  }
};

class ProductKernel final : public Kernel {
 public:
  bool Run() override {
    ProductRows product{input, output, row_base, row_output, depth_offset, column_stride};
    if (staging) {
      auto* staged = reinterpret_cast<float*>(scratch->data());
      staging->Fill(staged);
      product.input = staged;
    }
    for (const ProductBlock& block : blocks) run_block(product, block);
    return true;
  }

  // Packs weights and cuts them into blocks. `weight(group, column, k)` is a value.
  // `columns` and the outputs' `group_stride` are those of one group.
  template <typename Weight, typename Bias>
  void Pack(const Operand& operand, const KernelContext& context, std::string form, int64_t groups,
            int64_t columns, const Weight& weight, const Bias& bias_of) {
    const size_t depth = depth_offset.size();
    const int64_t blocks_per_group = (columns + kProductBlock - 1) / kProductBlock;
    const auto at = [&](int64_t group, int64_t column, size_t k) {
      const int64_t index = group * blocks_per_group + column / kProductBlock;
      return (static_cast<size_t>(index) * depth + k) * kProductBlock +
             static_cast<size_t>(column % kProductBlock);
    };
    const size_t packed_floats =
        static_cast<size_t>(groups * blocks_per_group) * depth * kProductBlock;
    weights = PackOnce(operand, form, context, [&](const std::byte*) {
      PackedWeights result(packed_floats * sizeof(float));
      auto* values = reinterpret_cast<float*>(result.data());
      std::fill_n(values, packed_floats, 0.0F);
      for (int64_t g = 0; g < groups; ++g) {
        for (int64_t c = 0; c < columns; ++c) {
          for (size_t k = 0; k < depth; ++k) values[at(g, c, k)] = weight(g, c, k);
        }
      }
      return result;
    });
    bias.assign(static_cast<size_t>(groups * blocks_per_group) * kProductBlock, 0.0F);
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t c = 0; c < columns; ++c) {
        bias[static_cast<size_t>((g * blocks_per_group + c / kProductBlock) * kProductBlock +
                                 c % kProductBlock)] = bias_of(g, c);
      }
    }
    const auto* values = reinterpret_cast<const float*>(weights->data());
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t c = 0; c < columns; c += kProductBlock) {
        blocks.push_back(
            {.weights = values + at(g, c, 0),
             .bias = bias.data() + blocks.size() * kProductBlock,
             .input_shift = static_cast<uint64_t>(g) * group_input_stride,
             .output_shift = static_cast<uint64_t>(g * columns + c) * column_stride,
             .columns = static_cast<uint32_t>(std::min<int64_t>(kProductBlock, columns - c))});
      }
    }
  }

  DataRef<const float> input;
  DataRef<float> output;
  std::optional<Staging> staging;
  Scratch* scratch = nullptr;
  std::vector<uint64_t> row_base;
  std::vector<uint64_t> row_output;
  std::vector<uint64_t> depth_offset;
  uint64_t column_stride = 1;
  uint64_t group_input_stride = 0;

 private:
  std::shared_ptr<const PackedWeights> weights;
  std::vector<float> bias;
  std::vector<ProductBlock> blocks;
  RunProductBlock run_block = BestRunProductBlock();
};

DataRef<const float> FloatsAt(const Operand& operand, const KernelContext& context) {
  return DataRef<const float>(context.resolve(operand));
}
const float* FloatsNow(const Operand& operand, const KernelContext& context) {
  return reinterpret_cast<const float*>(ReadNow(operand, context));
}

bool Fits(const Instruction& instruction, uint64_t most_macs, const Operand& weights,
          const std::optional<Operand>& bias, const KernelContext& context) {
  return MacCount(instruction) <= most_macs && context.constant(weights.var_id) &&
         (!bias || context.constant(bias->var_id));
}

}  // namespace

std::unique_ptr<Kernel> MakeSmallConv2d(const Conv2d& conv, const KernelContext& context) {
  if (!Fits(conv, kSmallConvMacs, conv.weights, conv.bias, context)) return nullptr;
  const auto& in = conv.input;
  const auto& out = conv.output;
  const auto& w = conv.weights;
  Staging staging{.source = FloatsAt(in, context),
                  .dims = in.dims,
                  .strides = in.strides,
                  .top = conv.pads[0],
                  .left = conv.pads[1],
                  .height = in.dims[2] + conv.pads[0] + conv.pads[2],
                  .width = in.dims[3] + conv.pads[1] + conv.pads[3],
                  .round = conv.precision == Precision::kBFloat16};
  // Mostly padding: not what this is for.
  const auto staged = staging.elements();
  if (!staged || *staged > kSmallConvMacs) return nullptr;
  auto kernel = std::make_unique<ProductKernel>();
  std::vector<int64_t> strides = in.strides;
  if (staging.round || staging.height != in.dims[2] || staging.width != in.dims[3]) {
    strides = {in.dims[1] * staging.height * staging.width, staging.height * staging.width,
               staging.width, 1};
    context.scratch->Reserve(*staged * sizeof(float));
    kernel->scratch = context.scratch;
    kernel->staging = std::move(staging);
  } else {
    kernel->input = FloatsAt(in, context);
  }
  for (int64_t n = 0; n < out.dims[0]; ++n) {
    for (int64_t y = 0; y < out.dims[2]; ++y) {
      for (int64_t x = 0; x < out.dims[3]; ++x) {
        kernel->row_base.push_back(static_cast<uint64_t>(
            n * strides[0] + y * conv.strides[0] * strides[2] + x * conv.strides[1] * strides[3]));
        kernel->row_output.push_back(
            static_cast<uint64_t>(n * out.strides[0] + y * out.strides[2] + x * out.strides[3]));
      }
    }
  }
  for (int64_t c = 0; c < w.dims[1]; ++c) {
    for (int64_t ky = 0; ky < w.dims[2]; ++ky) {
      for (int64_t kx = 0; kx < w.dims[3]; ++kx) {
        kernel->depth_offset.push_back(static_cast<uint64_t>(c * strides[1] +
                                                             ky * conv.dilations[0] * strides[2] +
                                                             kx * conv.dilations[1] * strides[3]));
      }
    }
  }
  kernel->output = DataRef<float>(context.resolve(out));
  kernel->column_stride = static_cast<uint64_t>(out.strides[1]);
  kernel->group_input_stride = static_cast<uint64_t>(w.dims[1] * strides[1]);

  const WeightValues values(w, conv.precision, ReadNow(w, context));
  const int64_t columns = w.dims[0] / conv.groups;
  const int64_t window = w.dims[2] * w.dims[3];
  const float* bias = conv.bias ? FloatsNow(*conv.bias, context) : nullptr;
  kernel->Pack(
      w, context,
      fmt::format("small-conv/{}/{}/{}/{}/{}", conv.groups, DTypeName(w.dtype),
                  static_cast<int>(conv.precision), fmt::join(w.dims, ","),
                  fmt::join(w.strides, ",")),
      conv.groups, columns,
      [&](int64_t group, int64_t column, size_t k) {
        const auto tap = static_cast<int64_t>(k);
        return values[static_cast<size_t>(
            (group * columns + column) * w.strides[0] + tap / window * w.strides[1] +
            tap % window / w.dims[3] * w.strides[2] + tap % w.dims[3] * w.strides[3])];
      },
      [&](int64_t group, int64_t column) {
        return bias == nullptr ? 0.0F : bias[(group * columns + column) * conv.bias->strides[0]];
      });
  return kernel;
}

std::unique_ptr<Kernel> MakeSmallMatMul(const MatMul& matmul, const KernelContext& context) {
  if (!Fits(matmul, kSmallMatMulMacs, matmul.b, matmul.bias, context)) return nullptr;
  const Operand& a = matmul.a;
  const Operand& b = matmul.b;
  const Operand& c = matmul.c;
  const std::optional<Operand>& bias = matmul.bias;
  const Precision precision = matmul.precision;
  const size_t rank = c.dims.size();
  if (!HasOneMatrix(matmul)) return nullptr;

  auto kernel = std::make_unique<ProductKernel>();
  const uint64_t span = SpanElements(a);
  if (precision == Precision::kBFloat16) {
    if (span > kSmallMatMulMacs) return nullptr;  // mostly gaps
    // A run as it lies: the strides stay.
    const auto count = static_cast<int64_t>(span);
    context.scratch->Reserve(span * sizeof(float));
    kernel->scratch = context.scratch;
    kernel->staging = Staging{.source = FloatsAt(a, context),
                              .dims = {1, 1, 1, count},
                              .strides = {count, count, count, 1},
                              .height = 1,
                              .width = count,
                              .round = true};
  } else {
    kernel->input = FloatsAt(a, context);
  }
  // Rows are all index tuples but the last.
  std::vector<int64_t> index(rank - 1, 0);
  while (true) {
    int64_t from = 0;
    int64_t to = 0;
    for (size_t d = 0; d + 1 < rank; ++d) {
      if (a.dims[d] != 1) from += index[d] * a.strides[d];
      to += index[d] * c.strides[d];
    }
    kernel->row_base.push_back(static_cast<uint64_t>(from));
    kernel->row_output.push_back(static_cast<uint64_t>(to));
    size_t d = rank - 1;
    while (d > 0 && ++index[d - 1] == c.dims[d - 1]) index[--d] = 0;
    if (d == 0) break;
  }
  const int64_t depth = a.dims[rank - 1];
  const int64_t columns = c.dims[rank - 1];
  for (int64_t k = 0; k < depth; ++k)
    kernel->depth_offset.push_back(static_cast<uint64_t>(k * a.strides[rank - 1]));
  kernel->output = DataRef<float>(context.resolve(c));
  kernel->column_stride = static_cast<uint64_t>(c.strides[rank - 1]);

  const WeightValues values(b, precision, ReadNow(b, context));
  const float* bias_values = bias ? FloatsNow(*bias, context) : nullptr;
  const int64_t bias_stride = bias && bias->dims[rank - 1] != 1 ? bias->strides[rank - 1] : 0;
  kernel->Pack(
      b, context,
      fmt::format("small-matmul/{}/{}/{}/{}", DTypeName(b.dtype), static_cast<int>(precision),
                  fmt::join(b.dims, ","), fmt::join(b.strides, ",")),
      1, columns,
      [&](int64_t, int64_t column, size_t k) {
        return values[static_cast<size_t>(static_cast<int64_t>(k) * b.strides[rank - 2] +
                                          column * b.strides[rank - 1])];
      },
      [&](int64_t, int64_t column) {
        return bias_values == nullptr ? 0.0F : bias_values[column * bias_stride];
      });
  return kernel;
}

}  // namespace nrtd::sim
