// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/large_product.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "driver_shim/sim/kernels/operand_values.h"
#include "driver_shim/sim/kernels/packed_product.h"
#include "driver_shim/sim/kernels/small.h"
#include "driver_shim/sim/kernels/winograd.h"

namespace nrtd::sim {
namespace {

// More places of the output, or more floats of the staged input, are no image; a program that asks
// for them all the same gets the library, which needs no tables and no copy.
constexpr uint64_t kMostPlaces = uint64_t{1} << 24;
constexpr uint64_t kMostStaged = uint64_t{1} << 28;
// Of a product. The library is quicker from four rows on (2048 x 1000 by four rows: 0.2 ms instead
// of 0.3 on an AMD EPYC), but from another packed form than for one row.
constexpr uint64_t kFewRows = 6;

// The input, brought into memory where its rows are runs: images with a border of zeros, values
// rounded to bfloat16.
struct Staged {
  DataRef<const float> source;
  std::array<int64_t, 3> dims{1, 1, 1};  // images, rows, values of a row
  std::array<int64_t, 2> strides{0, 0};  // of the source, in elements
  std::array<int64_t, 4> border{};       // rows above, values before, rows below, values behind
  bool round = false;

  int64_t row() const { return border[1] + dims[2] + border[3]; }
  int64_t image() const { return (border[0] + dims[1] + border[2]) * row(); }
  uint64_t floats() const { return static_cast<uint64_t>(dims[0] * image()); }
  bool fits() const {
    const auto negative = [](int64_t value) { return value < 0; };
    if (std::any_of(dims.begin(), dims.end(), negative) ||
        std::any_of(border.begin(), border.end(), negative))
      return false;
    const auto all = ElementCount(Shape{dims[0], border[0] + dims[1] + border[2], row()});
    return all && *all <= kMostStaged;
  }

  void Fill(float* to) const {
    const auto zeros = [&](int64_t count) {
      std::fill_n(to, count, 0.0F);
      to += count;
    };
    for (int64_t n = 0; n < dims[0]; ++n) {
      zeros(border[0] * row());
      for (int64_t y = 0; y < dims[1]; ++y) {
        const float* from = source + n * strides[0] + y * strides[1];
        zeros(border[1]);
        if (round) {
          RoundRun(from, to, static_cast<uint64_t>(dims[2]));
        } else {
          std::copy_n(from, dims[2], to);
        }
        to += dims[2];
        zeros(border[3]);
      }
      zeros(border[2] * row());
    }
  }
};

class LargeProduct final : public Kernel {
 public:
  bool Run() override {
    PackedProduct product{.input = reinterpret_cast<const Word*>(static_cast<const float*>(input)),
                          .output = output,
                          .row_input = row_input,
                          .row_output = row_output,
                          .blocks = blocks,
                          .weights = reinterpret_cast<const Word*>(weights->data()),
                          .bias = bias.data(),
                          .columns = columns,
                          .clamp = clamp};
    if (staged) {
      auto* to = reinterpret_cast<float*>(scratch->data());
      staged->Fill(to);
      product.input = reinterpret_cast<const Word*>(to);
    }
    Float32Form()->run(product);
    return true;
  }

  void Stage(Staged form, const KernelContext& context) {
    context.scratch->Reserve(form.floats() * sizeof(float));
    scratch = context.scratch;
    staged = form;
  }

  // `weight(values, k, column)` is one of the expanded values, of which there are `depth` x
  // `columns`; `bias_stride` is between those of two columns.
  template <typename Weight>
  void Pack(const Operand& operand, Precision precision, const std::string& form,
            const std::optional<Operand>& bias_operand, int64_t bias_stride,
            const KernelContext& context, const Weight& weight) {
    int64_t depth = 0;
    for (const DepthBlock& block : blocks) depth += block.depth;
    weights = PackOnce(operand, fmt::format("{}/{}", form, static_cast<int>(precision)), context,
                       [&](const std::byte* data) {
                         const WeightValues values(operand, precision, data);
                         PackedWeights result(PackedWords(depth, columns) * sizeof(Word));
                         PackFloats(
                             *Float32Form(), blocks, columns,
                             [&](int64_t k, int64_t c) { return weight(values, k, c); },
                             reinterpret_cast<Word*>(result.data()), context.stop);
                         return result;
                       });
    bias.assign(static_cast<size_t>(PackedColumns(columns)), 0.0F);
    if (!bias_operand) return;
    const auto* from = reinterpret_cast<const float*>(ReadNow(*bias_operand, context));
    for (int64_t c = 0; c < columns; ++c) bias[static_cast<size_t>(c)] = from[c * bias_stride];
  }

  DataRef<const float> input;
  DataRef<float> output;
  std::vector<uint64_t> row_input;
  std::vector<uint64_t> row_output;
  std::vector<DepthBlock> blocks;
  int64_t columns = 0;
  Clamp clamp;

 private:
  std::optional<Staged> staged;
  Scratch* scratch = nullptr;
  std::shared_ptr<const PackedWeights> weights;
  std::vector<float> bias;
};

// Elements without gaps, in order.
bool IsDense(const Operand& operand) {
  int64_t stride = 1;
  for (size_t d = operand.dims.size(); d-- > 0;) {
    if (operand.dims[d] != 1 && operand.strides[d] != stride) return false;
    stride *= operand.dims[d];
  }
  return true;
}

uint64_t RowsOf(const MatMul& matmul) {
  return ElementCount(matmul.c.dims).value_or(0) / static_cast<uint64_t>(matmul.c.dims.back());
}

bool AreConstant(const Operand& weights, const std::optional<Operand>& bias,
                 const KernelContext& context) {
  return context.constant(weights.var_id) && (!bias || context.constant(bias->var_id));
}

// What both MakeFewRows() and AsConvolution() ask of a product.
bool IsLargeProduct(const MatMul& matmul, const KernelContext& context) {
  return Float32Form() != nullptr && !HasAvx512() && MacCount(matmul) > kSmallMatMulMacs &&
         AreConstant(matmul.b, matmul.bias, context) && HasPlainRows(matmul);
}

class WinogradKernel final : public Kernel {
 public:
  WinogradKernel(const WinogradShape& shape, const Staged& staged, Scratch* memory)
      : winograd_(shape), staged_(staged), memory_(memory) {
    memory->Reserve((staged_.floats() + winograd_.scratch_floats()) * sizeof(float));
  }
  bool Run() override {
    auto* input = reinterpret_cast<float*>(memory_->data());
    staged_.Fill(input);
    job.input = input;
    job.output = output;
    job.scratch = input + staged_.floats();
    job.weights = reinterpret_cast<const Word*>(weights->data());
    job.bias = bias.data();
    winograd_.Run(job);
    return true;
  }

  Winograd::Job job;
  DataRef<float> output;
  std::shared_ptr<const PackedWeights> weights;
  std::vector<float> bias;

 private:
  const Winograd winograd_;
  const Staged staged_;
  Scratch* memory_;
};

// Null where it is not the better choice; the forms that MakeLargeConv2d() knows.
std::unique_ptr<Kernel> MakeWinograd(const Conv2d& conv, const KernelContext& context) {
  // Of an image. Below, Winograd's weights, almost twice as many, take longer to read than to
  // multiply. For several images they would not, but then networks compiled for one and for several
  // could not share them; with one thread a core they can.
  constexpr int64_t kLeastTiles = 28;
  constexpr int64_t kMultiple = 8;
  const Operand& in = conv.input;
  const Operand& out = conv.output;
  const Operand& w = conv.weights;
  const WinogradShape shape{out.dims[0], out.dims[2], out.dims[3], in.dims[1], out.dims[1]};
  const std::array<int64_t, 2> ones{1, 1};
  if (w.dims[2] != 3 || w.dims[3] != 3 || conv.strides != ones || conv.dilations != ones ||
      shape.channels % kMultiple != 0 || shape.columns % kMultiple != 0 ||
      shape.tiles_down() * shape.tiles_across() < kLeastTiles)
    return nullptr;
  const int64_t below = shape.input_rows() - conv.pads[0] - in.dims[2];
  const int64_t behind = shape.input_row_floats() - (conv.pads[1] + in.dims[3]) * shape.channels;
  if (below < 0 || behind < 0) return nullptr;
  const Staged staged{.source = DataRef<const float>(context.resolve(in)),
                      .dims = {in.dims[0], in.dims[2], in.dims[3] * shape.channels},
                      .strides = {in.strides[0], in.strides[2]},
                      .border = {conv.pads[0], conv.pads[1] * shape.channels, below, behind},
                      .round = conv.precision == Precision::kBFloat16};
  if (!staged.fits() || PacksTooMuch(w, WinogradWeightWords(shape) * sizeof(Word))) return nullptr;
  auto kernel = std::make_unique<WinogradKernel>(shape, staged, context.scratch);
  kernel->weights = PackOnce(
      w, fmt::format("winograd/{}", static_cast<int>(conv.precision)), context,
      [&](const std::byte* data) {
        const WeightValues values(w, conv.precision, data);
        PackedWeights result(WinogradWeightWords(shape) * sizeof(Word));
        PackWinograd(
            shape,
            [&](int64_t column, int64_t channel, int64_t tap) {
              return values[static_cast<size_t>(column * w.strides[0] + channel * w.strides[1] +
                                                tap / 3 * w.strides[2] + tap % 3 * w.strides[3])];
            },
            reinterpret_cast<Word*>(result.data()), context.stop);
        return result;
      });
  kernel->bias.assign(static_cast<size_t>(shape.columns), 0.0F);
  if (conv.bias) {
    const auto* from = reinterpret_cast<const float*>(ReadNow(*conv.bias, context));
    for (int64_t c = 0; c < shape.columns; ++c)
      kernel->bias[static_cast<size_t>(c)] = from[c * conv.bias->strides[0]];
  }
  kernel->output = DataRef<float>(context.resolve(out));
  kernel->job.image_stride = out.strides[0];
  kernel->job.row_stride = out.strides[2];
  kernel->job.pixel_stride = out.strides[3];
  kernel->job.clamp = ClampOf(conv.fused).value_or(Clamp{});
  return kernel;
}

}  // namespace

std::unique_ptr<Kernel> MakeLargeConv2d(const Conv2d& conv, const KernelContext& context) {
  const Operand& in = conv.input;
  const Operand& out = conv.output;
  const Operand& w = conv.weights;
  const int64_t channels = in.dims[1];
  const bool is_plain =
      w.dims[2] == 1 && w.dims[3] == 1 && conv.strides == std::array<int64_t, 2>{1, 1};
  if (is_plain || Float32Form() == nullptr || UsesBFloat16(conv.precision) || conv.groups != 1 ||
      !AreConstant(w, conv.bias, context) || !ClampOf(conv.fused))
    return nullptr;
  const bool channels_last =
      (in.strides[1] == 1 || channels == 1) && in.strides[3] == channels && out.strides[1] == 1;
  const auto places = ElementCount(Shape{out.dims[0], out.dims[2], out.dims[3]});
  if (!channels_last || !places || *places > kMostPlaces) return nullptr;
  if (auto kernel = MakeWinograd(conv, context)) return kernel;
  const int64_t depth = w.dims[1] * w.dims[2] * w.dims[3];
  if (HasAvx512() || PacksTooMuch(w, PackedWords(depth, w.dims[0]) * sizeof(Word))) return nullptr;

  auto kernel = std::make_unique<LargeProduct>();
  std::vector<int64_t> strides = in.strides;
  const bool is_padded =
      std::any_of(conv.pads.begin(), conv.pads.end(), [](int64_t pad) { return pad != 0; });
  const bool round = conv.precision == Precision::kBFloat16;
  if (is_padded || round) {
    const Staged staged{
        .source = DataRef<const float>(context.resolve(in)),
        .dims = {in.dims[0], in.dims[2], in.dims[3] * channels},
        .strides = {in.strides[0], in.strides[2]},
        .border = {conv.pads[0], conv.pads[1] * channels, conv.pads[2], conv.pads[3] * channels},
        .round = round};
    // Mostly padding, or an image that is repeated with stride 0: not what this is for.
    if (!staged.fits() || staged.floats() > 4 * MacCount(conv)) return nullptr;
    kernel->Stage(staged, context);
    strides = {staged.image(), 1, staged.row(), channels};
  } else {
    kernel->input = DataRef<const float>(context.resolve(in));
  }
  for (int64_t n = 0; n < out.dims[0]; ++n) {
    for (int64_t y = 0; y < out.dims[2]; ++y) {
      for (int64_t x = 0; x < out.dims[3]; ++x) {
        kernel->row_input.push_back(static_cast<uint64_t>(
            n * strides[0] + y * conv.strides[0] * strides[2] + x * conv.strides[1] * strides[3]));
        kernel->row_output.push_back(
            static_cast<uint64_t>(n * out.strides[0] + y * out.strides[2] + x * out.strides[3]));
      }
    }
  }
  // A row of the window is one run, or, with gaps between its pixels, one each.
  const bool dense = conv.dilations[1] == 1;
  std::vector<Run> runs;
  for (int64_t ky = 0; ky < w.dims[2]; ++ky) {
    for (int64_t kx = 0; kx < (dense ? 1 : w.dims[3]); ++kx) {
      runs.push_back({static_cast<uint64_t>(ky * conv.dilations[0] * strides[2] +
                                            kx * conv.dilations[1] * strides[3]),
                      (dense ? w.dims[3] : 1) * channels});
    }
  }
  kernel->blocks = CutDepth(runs, *Float32Form());
  kernel->output = DataRef<float>(context.resolve(out));
  kernel->columns = w.dims[0];
  kernel->clamp = *ClampOf(conv.fused);
  kernel->Pack(w, conv.precision, "large-conv", conv.bias, conv.bias ? conv.bias->strides[0] : 0,
               context, [&](const WeightValues& values, int64_t k, int64_t column) {
                 const int64_t tap = k / channels;
                 return values[static_cast<size_t>(
                     column * w.strides[0] + k % channels * w.strides[1] +
                     tap / w.dims[3] * w.strides[2] + tap % w.dims[3] * w.strides[3])];
               });
  return kernel;
}

bool HasOneMatrix(const MatMul& matmul) {
  const auto is_one = [](int64_t dim) { return dim == 1; };
  const Operand& b = matmul.b;
  return std::all_of(b.dims.begin(), b.dims.end() - 2, is_one) &&
         (!matmul.bias ||
          std::all_of(matmul.bias->dims.begin(), matmul.bias->dims.end() - 1, is_one));
}

bool HasPlainRows(const MatMul& matmul) {
  const Operand& a = matmul.a;
  const Operand& c = matmul.c;
  return HasOneMatrix(matmul) && (a.strides.back() == 1 || a.dims.back() == 1) &&
         (c.strides.back() == 1 || c.dims.back() == 1) &&
         std::equal(a.dims.begin(), a.dims.end() - 1, c.dims.begin());
}

std::unique_ptr<Kernel> MakeFewRows(const MatMul& matmul, const KernelContext& context) {
  const Operand& a = matmul.a;
  const Operand& b = matmul.b;
  const Operand& c = matmul.c;
  const std::optional<Operand>& bias = matmul.bias;
  const int64_t depth = a.dims.back();
  const int64_t columns = c.dims.back();
  if (!IsLargeProduct(matmul, context) || RowsOf(matmul) > kFewRows || !ClampOf(matmul.fused) ||
      PacksTooMuch(b, PackedWords(depth, columns) * sizeof(Word)))
    return nullptr;
  auto kernel = std::make_unique<LargeProduct>();
  const auto starts_of = [](const Operand& rows) {
    return StartsOf(rows, std::span(rows.dims).first(rows.dims.size() - 1));
  };
  kernel->row_input = starts_of(a);
  kernel->row_output = starts_of(c);
  if (matmul.precision == Precision::kBFloat16) {
    const uint64_t step = kernel->row_input.size() > 1 ? kernel->row_input[1] : 0;
    const auto rows = static_cast<int64_t>(kernel->row_input.size());
    for (size_t r = 0; r < kernel->row_input.size(); ++r) {
      if (kernel->row_input[r] != r * step) return nullptr;
      kernel->row_input[r] = r * static_cast<uint64_t>(depth);
    }
    kernel->Stage({.source = DataRef<const float>(context.resolve(a)),
                   .dims = {1, rows, depth},
                   .strides = {0, static_cast<int64_t>(step)},
                   .round = true},
                  context);
  } else {
    kernel->input = DataRef<const float>(context.resolve(a));
  }
  const Run whole{0, depth};
  kernel->blocks = CutDepth({&whole, 1}, *Float32Form());
  kernel->output = DataRef<float>(context.resolve(c));
  kernel->columns = columns;
  kernel->clamp = *ClampOf(matmul.fused);
  const size_t row = b.dims.size() - 2;
  const auto stride = [](const Operand& operand, size_t dimension) {
    return operand.dims[dimension] == 1 ? 0 : operand.strides[dimension];
  };
  kernel->Pack(b, matmul.precision, "few-rows", bias,
               bias ? stride(*bias, bias->dims.size() - 1) : 0, context,
               [row_stride = stride(b, row), column_stride = stride(b, row + 1)](
                   const WeightValues& values, int64_t k, int64_t column) {
                 return values[static_cast<size_t>(k * row_stride + column * column_stride)];
               });
  return kernel;
}

std::optional<Conv2d> AsConvolution(const MatMul& matmul, const KernelContext& context) {
  const Operand& a = matmul.a;
  const Operand& b = matmul.b;
  const Operand& c = matmul.c;
  const std::optional<Operand>& bias = matmul.bias;
  const size_t rank = c.dims.size();
  const int64_t depth = a.dims[rank - 1];
  const int64_t columns = c.dims[rank - 1];
  // Without gaps, in the input, the output and the bias.
  if (!IsLargeProduct(matmul, context) || RowsOf(matmul) <= kFewRows || !IsDense(a) ||
      !IsDense(c) || (bias && (bias->dims.back() != columns || bias->strides.back() != 1)))
    return std::nullopt;
  const auto rows = static_cast<int64_t>(RowsOf(matmul));
  const auto places = [&](const Operand& operand, int64_t channels) {
    return Operand{operand.var_id,
                   operand.dtype,
                   operand.offset,
                   {1, channels, rows, 1},
                   {rows * channels, 1, channels, channels}};
  };
  Conv2d conv;
  conv.input = places(a, depth);
  conv.weights = {b.var_id,
                  b.dtype,
                  b.offset,
                  {columns, depth, 1, 1},
                  {b.strides[rank - 1], b.strides[rank - 2], 1, 1}};
  if (bias) conv.bias = Operand{bias->var_id, bias->dtype, bias->offset, {columns}, {1}};
  conv.output = places(c, columns);
  conv.precision = matmul.precision;
  conv.fused = matmul.fused;
  return conv;
}

}  // namespace nrtd::sim
